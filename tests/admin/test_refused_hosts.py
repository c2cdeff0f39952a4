# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which a fault refuses granted ports: no command calls the host sound.

check and explain name the folder, the helper or the process that refuses everything. Each
fault of the host is tried with a flag file and a rule file, and by every command. The repair
that a command prints is typed, and then the port can be bound.
"""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

import ctl
import printed
import pytest
import support
from ctl import CAPABILITY, NOBODY, PYBINDCTL, as_himself, as_root, granted, question, repair
from support import CONFIG, GID, HELPER, OTHER_UID, UID, flag, pybind, rules

RULES = f"{CONFIG}/byuser/{UID}"
ETC = CONFIG.parent
HIDE_SETFACL = ["mount", "--bind", "/dev/null", shutil.which("setfacl") or "/usr/bin/setfacl"]
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


def can_bind():
    """Tell whether the user really binds both ports."""
    wanted = pybind("-q", "--port", "443/tcp", "--port", "80/tcp", "true")
    return wanted.returncode == 0


@pytest.fixture
def granted_ports():
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
    printed.type_as_root(f"setcap {CAPABILITY} {HELPER}")


def repairs(text):
    """Return the commands that a message proposes."""
    return re.findall(r"repair: (.*)", text)


@pytest.mark.parametrize("way", WAYS)
def test_every_command_says_so(granted_ports, way):
    """No command exits with 0 or leaves the file unnamed; the repair works."""
    assert can_bind()
    damage, path = WAYS[way]
    printed.type_as_root(damage)
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
def test_in_json(granted_ports, command):
    """The JSON object names the file and the repair too."""
    printed.type_as_root(f"chmod 0600 {RULES}")
    process = ctl.pybindctl(*command, "--json", input=APPLY)
    assert process.returncode == 3, process.stderr
    (refusing,) = json.loads(process.stdout)["refusing"]
    assert refusing["file"] == RULES
    printed.type_as_root(refusing["repair"])
    assert can_bind()


def test_an_ordinary_user_is_told(granted_ports):
    """status, list and export say the same without root, and note what only root can read."""
    printed.type_as_root(f"chmod 0600 {RULES}")
    for command, status in (("status", 3), ("list", 3), ("export", 4)):
        process = support.run([ctl.PYBINDCTL, command])
        assert process.returncode == status, (command, process.stderr)
        assert f"repair: sudo chmod 0644 {RULES}" in process.stderr


def test_not_of_this_host(granted_ports):
    """A right that only this process lacks is a note, because others can bind."""
    done = subprocess.run(
        ["setpriv", "--no-new-privs", ctl.PYBINDCTL, "list"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note: no_new_privs is set" in done.stderr


@pytest.mark.parametrize("folder", ["", "byport", "bygroup"])
def test_unsafe_directory(folder):
    """A folder that others can write is named, and no file below is looked at."""
    flag("byport/80")
    (CONFIG / folder).chmod(0o777)
    answer = question("explain", "80")
    assert answer["addresses"][0]["steps"] == []
    text = as_root("explain", "80", *NOBODY).stdout
    assert "no permission file was looked at" in text
    assert f"{CONFIG / folder} is owner 0, group 0, mode 0777" in text
    repair(answer["addresses"][0]["commands"][0], "folders._unfit: sudo pybindctl setup")
    assert granted("80")


def test_missing_directory():
    """The proposed command makes a missing /etc/pybind."""
    shutil.rmtree(CONFIG)
    answer = question("explain", "80")
    repair(answer["addresses"][0]["commands"][0], "folders.broken: sudo pybindctl setup")
    assert "nothing in /etc/pybind grants it" in as_root("explain", "80", *NOBODY).stdout


def test_helper_missing():
    """A missing helper is an error, not a refusal."""
    moved = pathlib.Path(HELPER).rename(HELPER + ".aside")
    try:
        for done in (as_root("check", "80", *NOBODY), as_himself("explain", "80")):
            assert done.returncode == 1
            assert done.stdout == ""
            assert HELPER in done.stderr
            assert "repair: sudo make -C " in done.stderr
    finally:
        moved.rename(HELPER)


def test_helper_lost_its_capability():
    """A copied helper has no capability; the proposed setup gives it back."""
    flag("byport/80")
    subprocess.run(["setcap", "-r", HELPER], check=True)
    try:
        answer = question("explain", "80")
        first = answer["addresses"][0]
        assert "lost its file capability" in "".join(first["explanation"])
        assert first["file"] == str(CONFIG / "byport" / "80")
        repair(first["commands"][0], "decision._commands: sudo ...")
        assert granted("80")
    finally:
        subprocess.run(["setcap", "cap_net_bind_service=p", HELPER], check=True)


def test_nosuid_mount():
    """A nosuid mount below the helper is named, and the proposed remount works."""
    flag("byport/80")
    folder = pathlib.Path(HELPER).parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,nosuid", folder], check=True)
        text = as_root("explain", "80", *NOBODY).stdout
        assert "mounted nosuid" in text
        assert f"repair: sudo mount -o remount,bind,suid {folder}\n" in text
        repair(text, "diagnose._about_the_file: sudo {remount}")
        assert granted("80")
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("option", "words"),
    [("--no-new-privs", "no_new_privs is set"), ("--bounding-set=-net_bind_service", "bounding")],
)
def test_stripped_caller(option, words):
    """no_new_privs and a reduced bounding set are named, to the user and to root."""
    flag("byport/80")
    ids = ["--reuid", str(UID), "--regid", str(GID), "--clear-groups"]
    for arguments, user in ((ids, []), ([], NOBODY)):
        drop = ["/usr/bin/setpriv", *arguments, "--inh-caps=-all", option, "env"]
        asking = [PYBINDCTL, "explain", "80", *user]
        done = subprocess.run([*drop, *asking], capture_output=True, text=True, cwd="/")
        assert done.returncode == 1, done.stderr
        assert words in done.stdout


def test_user_namespace():
    """The message says that root of a user namespace is not root of the host."""
    if support.run(["/usr/bin/unshare", "-U", "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    done = support.run(["/usr/bin/unshare", "-U", PYBINDCTL, "explain", "80"])
    assert done.returncode == 1
    assert "in a user namespace" in done.stdout


def test_traced():
    """The message names the tracer if an ordinary user runs strace."""
    flag("byport/80")
    strace = ["/usr/bin/strace", "-f", "-o", "/dev/null"]
    done = support.run([*strace, PYBINDCTL, "explain", "80"])
    assert "traces this one" in done.stdout


def test_more_than_is_shown():
    """Of many broken files a few are named, and lint names all."""
    for number in range(30):
        rules(f"byuser/{20000 + number}", "any,8o")
    err = ctl.pybindctl("list").stderr
    shown = printed.type_as_root(printed.said(err, "verification.tell: pybindctl lint"), status=3)
    assert all(f"byuser/{20000 + number}" in shown for number in range(30))
    assert "byuser/20029" not in err


@pytest.mark.parametrize(
    ("hide", "name"),
    [
        (False, "folders.to_open: sudo setfacl -b ... && sudo chmod a+x ..."),
        (True, "folders.to_open: sudo python3 -c ... && sudo chmod a+x,g-w ..."),
    ],
    ids=["with acl", "without acl"],
)
def test_list_of_a_folder_above(hide, name):
    """An access control list keeps a user out of /etc: it goes, with the package acl or without."""
    rules(f"byuser/{UID}", "any,80")
    subprocess.run(["setfacl", "-m", f"u:{UID}:r,g:{OTHER_UID}:rx", ETC], check=True)
    try:
        assert not ctl.served("80")
        script = f"{' '.join(HIDE_SETFACL) if hide else 'true'} && exec {ctl.PYBINDCTL} doctor"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True
        )
        command = printed.said(done.stdout, name)
        if hide:
            assert "setfacl" not in command
        printed.type_as_root(command)
        assert ctl.served("80")
        assert ctl.acl(ETC) == b""
        assert stat.S_IMODE(ETC.stat().st_mode) == 0o755
    finally:
        subprocess.run(["setfacl", "-b", ETC], check=True)
        ETC.chmod(0o755)


def test_list_of_a_rule_file():
    """A list that shuts its user out of a rule file: a copy without it, with the same lines."""
    path = rules(f"byuser/{UID}", "any,80")
    subprocess.run(["setfacl", "-m", f"u:{UID}:-", path], check=True)
    assert not ctl.served("80")
    err = ctl.pybindctl("list").stderr
    name = "reading.not_readable: sudo install -m 0644 ... ....new && sudo mv ....new ..."
    printed.typed(err, name)
    assert ctl.served("80")
    assert ctl.acl(path) == b""
