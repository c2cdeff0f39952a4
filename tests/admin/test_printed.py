# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that pybindctl prints and no other test of it types: each does what it is printed for."""

import errno
import os
import pathlib
import shutil
import stat
import subprocess

import ctl
import printed
import pytest
import support
from support import CONFIG, OTHER_UID, UID, pybind, rules

from pybind.permissions.changing import writing
from pybind.permissions.errors import Failed

WHO = str(UID)
ETC = CONFIG.parent
HIDE_SETFACL = ["mount", "--bind", "/dev/null", shutil.which("setfacl") or "/usr/bin/setfacl"]


def served(*ports):
    """Tell whether UID can bind these ports now."""
    return all(pybind("-q", "--port", port, "true").returncode == 0 for port in ports)


def test_more_than_is_shown():
    """Of many broken files a few are named, and lint names all."""
    for number in range(30):
        rules(f"byuser/{20000 + number}", "any,8o")
    err = ctl.pybindctl("list").stderr
    shown = printed.type_as_root(printed.said(err, "verification.tell: pybindctl lint"), status=3)
    assert all(f"byuser/{20000 + number}" in shown for number in range(30))
    assert "byuser/20029" not in err


def test_nothing_granted_yet():
    """Status with nothing to show says how to grant a port."""
    command = printed.said(
        ctl.done("status"), "status.status_command: sudo pybindctl grant USER PORT"
    )
    printed.type_as_root(command.replace("USER", "nobody").replace("PORT", "80"))
    assert served("80")


def test_how_to_use_a_grant():
    """The last line of grant is what its user types."""
    out = ctl.done("grant", WHO, "80")
    command = printed.said(out, "grant._use: pybind --port ... -- PROGRAM").split()
    code = "import socket; s = socket.socket(); s.bind(('', 80)); print('bound')"
    done = support.run([support.PYBIND, *command[1:-1], "/usr/bin/python3", "-c", code])
    assert done.stdout == "bound\n", done.stderr


def test_port_before_the_user():
    """A WHO and a port that changed places: the command that was meant; nothing is done before."""
    for name in ("grant", "revoke"):
        said = ctl.failed(2, name, "80", "nobody", words=["the user comes before the port"])
        printed.typed(said, "granting.parse_specs: sudo pybindctl ... ... ...")
        assert served("80") == (name == "grant")
    # A service that is no account, and an account that is a service: what was typed counts.
    assert "sudo" not in ctl.failed(2, "grant", "80", "nosuchname")


def test_grant_that_needs_a_confirmation():
    """The whole command is printed, with --yes."""
    said = ctl.failed(2, "grant", WHO, "600", "127.0.0.1:80", "[::1]:80-90/udp")
    printed.typed(said, "grant._confirm: sudo pybindctl grant --yes ... ...")
    lines = ["127.0.0.1,80", "::1,80-90/udp"]
    assert (ctl.lines(f"byuser/!{UID}"), ctl.lines(f"byuser/{UID}")) == (["any,600"], lines)


def test_export_and_apply():
    """Export tells a user to use sudo, and its first line what reads it."""
    rules(f"byuser/{OTHER_UID}", "any,80", mode=0o600)
    rules(f"byuser/{UID}", "any,80")
    done = support.run([ctl.PYBINDCTL, "export"])
    assert done.returncode == 4
    path = support.scratch_dir() / "grants.toml"
    (CONFIG / f"byuser/{OTHER_UID}").unlink()
    path.write_text(printed.typed(done.stderr, "cli._with_sudo: sudo pybindctl ..."))
    support.clear_config()
    first = path.read_text().splitlines()[0]
    command = printed.said(first, "apply.export_command: pybindctl apply FILE")
    printed.type_as_root(command.replace("FILE", str(path)))
    assert served("80")


def test_link_in_the_place_of_a_flag_file():
    """A flag file that is none stops the grant; put aside, it does no more."""
    (CONFIG / "byport/80").symlink_to("/bin/true")
    err = ctl.failed(1, "grant", "everyone", "80", "--yes")
    printed.typed(err, "state.State._access_of: {put_aside}")
    ctl.done("grant", "everyone", "80", "--yes")
    assert served("80")


def test_broken_line_in_the_way():
    """A rule file with a broken line is not added to; mended, it is."""
    rules(f"byuser/{UID}", "any,22", "any,8o")
    err = ctl.failed(3, "grant", WHO, "80")
    printed.typed(err, "reading.check_rules: {rule_line}")
    ctl.done("grant", WHO, "80")
    assert served("22", "80")


@pytest.mark.parametrize(
    ("spec", "line"), [("127.0.0.0/8:80", "127.0.0.0/8,80"), ("1024-9999", "any,1024-9999")]
)
def test_too_much_for_everyone(spec, line):
    """What no flag file can say is granted to a group instead."""
    err = ctl.failed(1, "grant", "everyone", spec, "--yes")
    name = "editing._grant_everyone: sudo pybindctl grant @GROUP ..."
    command = printed.said(err, name).replace("GROUP", str(support.GID))
    printed.type_as_root(command.replace("grant", "grant --yes"))
    assert ctl.lines(f"bygroup/{support.GID}") == [line]


def test_kernel_gives_ports_away():
    """The other way for many ports is the kernel's, for all above N."""
    err = ctl.failed(1, "grant", "everyone", "300-999", "--yes")
    name = "editing._grant_everyone: sudo sysctl net.ipv4.ip_unprivileged_port_start=N"
    try:
        printed.type_as_root(printed.said(err, name).replace("=N", "=300"))
        code = "import socket; socket.socket().bind(('', 300)); print('bound')"
        assert support.run(["/usr/bin/python3", "-c", code]).stdout == "bound\n"
    finally:
        pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("1024")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (errno.EDQUOT, "writing._failed: df -h ..."),
        (errno.ENOENT, "writing._failed: sudo pybindctl setup"),
    ],
)
def test_while_writing(error, name):
    """What fails in the midst of writing: room is shown, folders are made anew."""
    if error == errno.ENOENT:
        (CONFIG / "byport").rmdir()
    with pytest.raises(Failed) as caught, writing.as_failure(f"{CONFIG}/byport/80"):
        raise OSError(error, os.strerror(error))
    shown = printed.typed("\n".join(caught.value.lines), name)
    assert "Filesystem" in shown or (CONFIG / "byport").is_dir()


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
        assert not served("80")
        script = f"{' '.join(HIDE_SETFACL) if hide else 'true'} && exec {ctl.PYBINDCTL} doctor"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True
        )
        command = printed.said(done.stdout, name)
        if hide:
            assert "setfacl" not in command
        printed.type_as_root(command)
        assert served("80")
        assert ctl.acl(ETC) == b""
        assert stat.S_IMODE(ETC.stat().st_mode) == 0o755
    finally:
        subprocess.run(["setfacl", "-b", ETC], check=True)
        ETC.chmod(0o755)


def test_list_of_a_rule_file():
    """A list that shuts its user out of a rule file: a copy without it, with the same lines."""
    path = rules(f"byuser/{UID}", "any,80")
    subprocess.run(["setfacl", "-m", f"u:{UID}:-", path], check=True)
    assert not served("80")
    err = ctl.pybindctl("list").stderr
    name = "reading.not_readable: sudo install -m 0644 ... ....new && sudo mv ....new ..."
    printed.typed(err, name)
    assert served("80")
    assert ctl.acl(path) == b""
