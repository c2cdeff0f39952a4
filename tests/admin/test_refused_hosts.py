# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which a fault refuses granted ports: no command calls the host sound.

Each fault is tried with a flag file and a rule file. The repair that each command
prints is typed, and then the port can be bound.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

import ctl
import printed
import pytest
import support
from support import CONFIG, HELPER, OTHER_UID, UID, flag, pybind, rules

RULES = f"{CONFIG}/byuser/{UID}"
CAPABILITY = "cap_net_bind_service=p"
APPLY = f'[[grant]]\nuser = {UID}\nports = ["443"]\n[[grant]]\neveryone = true\nports = ["80"]\n'
# name -> what breaks the host, and the file that every command must name.
WAYS = {
    "unreadable rules": (f"chmod 0600 {RULES}", RULES),
    "rules of somebody else": (f"chown {OTHER_UID} {RULES}", RULES),
    "folder that others write": (f"chmod 0775 {CONFIG}/byuser", f"{CONFIG}/byuser"),
    "directory that all write": (f"chmod 0777 {CONFIG}", CONFIG),
    "directory nobody searches": (f"chmod 0750 {CONFIG}", CONFIG),
    "link": (f"mv {CONFIG} {CONFIG}.real && ln -s {CONFIG}.real {CONFIG}", CONFIG),
    "folder nobody searches": (f"chmod 0700 {CONFIG}/byport", f"{CONFIG}/byport"),
    "folder of somebody else": (f"chown {OTHER_UID} {CONFIG}/byaddr", f"{CONFIG}/byaddr"),
    "etc nobody searches": ("chmod 0700 /etc", "/etc"),
    "noexec": (f"mount --bind {CONFIG} {CONFIG} && mount -o remount,bind,noexec {CONFIG}", CONFIG),
    "no capability": (f"setcap -r {HELPER}", HELPER),
    "helper of somebody else": (f"chown {OTHER_UID} {HELPER}", HELPER),
    "helper missing": (f"mv {HELPER} {HELPER}.kept", HELPER),
    "another helper": (f"cp -p {HELPER} {HELPER}.kept && cp /bin/true {HELPER}", HELPER),
}
REINSTALL = "diagnose.cannot_start: sudo {REINSTALL}"
# name -> the name of the command that repairs it.
REPAIRS = {
    "unreadable rules": "reading.not_readable: sudo chmod 0644 ...",
    "rules of somebody else": "reading._unsafe: {rules_file}",
    "folder that others write": "folders._unfit: sudo pybindctl setup",
    "directory that all write": "folders._unfit: sudo pybindctl setup",
    "directory nobody searches": "folders.to_open: sudo pybindctl setup",
    "link": "folders._unfit: sudo cp -a .../. ... && sudo mv ... ... && sudo mv ... ...",
    "folder nobody searches": "folders.to_open: sudo pybindctl setup",
    "folder of somebody else": "folders._unfit: sudo pybindctl setup",
    "etc nobody searches": "folders.to_open: sudo chmod a+x ...",
    "noexec": "folders.on_noexec: sudo {remount}",
    "no capability": "installation._capability: sudo pybindctl setup",
    "helper of somebody else": "installation._owner: sudo {REINSTALL}",
    "helper missing": REINSTALL,
    "another helper": "verification._asked: sudo {REINSTALL}",
}
COMMANDS = [
    ("apply", "-"), ("apply", "-", "--check"), ("status",), ("list",), ("export",),
    ("check", "443", "--user", UID), ("check", "80", "--user", UID),
    ("grant", UID, "443"), ("grant", "everyone", "80", "--yes"),
]  # fmt: skip


def typed(command):
    """Type a command as root."""
    done = subprocess.run(
        command, shell=True, check=False, timeout=120, cwd=support.REPOSITORY,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)


def can_bind():
    """Tell whether the user really binds both ports."""
    wanted = pybind("-q", "--port", "443/tcp", "--port", "80/tcp", "true")
    return wanted.returncode == 0


@pytest.fixture
def granted():
    """Grant a port by a rule file and one by a flag file; restore the installation after."""
    rules(f"byuser/{UID}", "any,443")
    flag("byport/80", mode=0o755)
    yield
    subprocess.run(["umount", CONFIG], check=False, stderr=subprocess.DEVNULL)
    pathlib.Path("/etc").chmod(0o755)
    for path in (CONFIG, pathlib.Path(f"{CONFIG}.real"), pathlib.Path(f"{CONFIG}.link")):
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    support.clear_config()
    if os.path.exists(HELPER + ".kept"):
        os.replace(HELPER + ".kept", HELPER)
    os.chown(HELPER, 0, 0)
    typed(f"setcap {CAPABILITY} {HELPER}")


def repairs(text):
    """Return the commands that a message proposes."""
    return re.findall(r"repair: (.*)", text)


@pytest.mark.parametrize("way", WAYS)
def test_every_command_says_so(granted, way):
    """No command exits with 0 or leaves the file unnamed; the repair works."""
    assert can_bind()
    damage, path = WAYS[way]
    typed(damage)
    assert not can_bind()
    for command in COMMANDS:
        answers = way in ("unreadable rules", "rules of somebody else") and "80" in command
        if answers or (way == "noexec" and "443" in command):
            continue  # this question is about the other port, which works
        process = ctl.pybindctl(*command, input=APPLY if "-" in command else "")
        case = (command, process.returncode, process.stdout, process.stderr)
        assert process.returncode in (1, 3), case
        assert str(path) in process.stdout + process.stderr, case
        assert "Traceback" not in process.stderr, case
    told = repairs(ctl.pybindctl("list").stderr)
    assert told
    for command in told:
        printed.typed(command, REPAIRS[way], cwd=support.REPOSITORY)
    assert can_bind()
    for command in COMMANDS:
        process = ctl.pybindctl(*command, input=APPLY if "-" in command else "")
        assert process.returncode == 0, (command, process.stdout, process.stderr)


@pytest.mark.parametrize(
    "command", [("status",), ("list",), ("export",), ("apply", "-", "--check")]
)
def test_in_json(granted, command):
    """The JSON object names the file and the repair too."""
    typed(f"chmod 0600 {RULES}")
    process = ctl.pybindctl(*command, "--json", input=APPLY)
    assert process.returncode == 3, process.stderr
    (refusing,) = json.loads(process.stdout)["refusing"]
    assert refusing["file"] == RULES
    typed(refusing["repair"])
    assert can_bind()


def test_an_ordinary_user_is_told(granted):
    """status, list and export say the same without root, and note what only root can read."""
    typed(f"chmod 0600 {RULES}")
    for command, status in (("status", 3), ("list", 3), ("export", 4)):
        process = support.run([ctl.PYBINDCTL, command])
        assert process.returncode == status, (command, process.stderr)
        assert f"repair: sudo chmod 0644 {RULES}" in process.stderr


def test_not_of_this_host(granted):
    """A right that only this process lacks is a note, because others can bind."""
    done = subprocess.run(
        ["setpriv", "--no-new-privs", ctl.PYBINDCTL, "list"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note: no_new_privs is set" in done.stderr
