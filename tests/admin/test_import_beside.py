# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import beside the files of this host: they stay, and nobody loses a port."""

import subprocess

import ctl
import importing
import pytest
import support
from importing import AUTHBIND, granted, old_flag
from support import CONFIG, OTHER_UID, UID, flag, rules

authbind = pytest.fixture(autouse=True)(importing.empty_folders)


def test_what_is_here_stays():
    """Grants that were here keep their answers; an import only adds to them."""
    rules(f"byuser/{OTHER_UID}", "any,80", "# kept")
    flag("byport/443", gid=UID)
    old_flag("byport/80", gid=2000, mode=0o750)
    old_flag("byport/443", uid=4242, mode=0o500)
    (AUTHBIND / f"byuid/{OTHER_UID}").write_text("127.0.0.1,25\n")
    ctl.pybindctl("import", "authbind", "--apply")
    assert granted("80", OTHER_UID)
    assert granted("443")
    assert granted("443", 4242)
    assert granted("127.0.0.1:25", OTHER_UID)
    assert ctl.lines(f"byuser/{OTHER_UID}")[:2] == ["any,80", "# kept"]
    assert ctl.lines("bygroup/2000") == ["any,80"]


def test_broken_file_here():
    """A broken rule file in /etc/pybind is named, and nothing is written."""
    rules(f"byuser/{UID}", "rubbish")
    (AUTHBIND / f"byuid/{UID}").write_text("127.0.0.1,25\n")
    old_flag("byport/80")
    ctl.failed(3, "import", "authbind", "--apply", words=[f"byuser/{UID} line 1"])


def test_differences_end_with_1():
    """A flag file here that refuses an authbind grant is listed, with status 1."""
    flag("byport/80,tcp", uid=0, gid=0, mode=0o700)
    (AUTHBIND / f"byuid/{UID}").write_text("127.0.0.1,80\n")
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert process.returncode == 1
    assert "DIFFERS" in process.stdout
    assert "127.0.0.1:80/tcp" in process.stdout
    assert "/etc/pybind/byport/80,tcp: permission file is not executable" in process.stdout


@pytest.mark.parametrize("folder", ["byport", "byaddr", "byuser", "bygroup"])
def test_inherited_lists(folder):
    """A default list of a folder changes no file: the files are as planned."""
    subprocess.run(["setfacl", "-d", "-m", "u:13:rwx,g:14:rwx,m::rwx", CONFIG / folder], check=True)
    old_flag("byport/80", mode=0o750)
    old_flag("byport/81", uid=UID, mode=0o750)
    old_flag("byaddr/127.0.0.1,82", mode=0o750)
    (AUTHBIND / f"byuid/{UID}").write_text("127.0.0.1,25\n")
    ctl.done("import", "authbind", "--apply")
    ctl.done("grant", "@2000", "25")
    for name, (_, _, mode, entries, _) in ctl.snapshot().items():
        if name == "byport/81":
            assert b"\r\0\0\0" not in entries
            continue
        assert entries == b"", name
        assert mode & 0o7777 == (0o644 if name.startswith(("byuser", "bygroup")) else 0o750)
    for port in (80, 81):
        assert not granted(port, 13)
    assert not granted("127.0.0.1:82", 13)


def test_a_flag_file_that_cannot_stand_here():
    """A flag file that would take a port from others becomes lines, and overlaps are cut."""
    rules("bygroup/2000", "any,80")
    old_flag("byport/80", gid=2001, mode=0o750)
    (AUTHBIND / f"byuid/{UID}").write_text("127.0.0.1,79-81\n")
    text = ctl.done("import", "authbind", "--apply")
    assert "becomes 127.0.0.1,79 127.0.0.1,81: a flag file there decides about the rest" in text
    assert ctl.lines(f"byuser/{UID}")[1:] == ["127.0.0.1,79", "127.0.0.1,81"]
    assert ctl.lines("bygroup/2001") == ["any,80"]
    assert "DIFFERS" not in text


def test_a_refusal_that_cannot_stand_here():
    """A flag file that refuses one member of a group is left out if others have the port."""
    rules("bygroup/2000", "any,80")
    path = old_flag("byport/80", gid=2001, mode=0o750)
    subprocess.run(["setfacl", "-m", f"u:{UID}:-", path], check=True)
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert process.returncode == 1
    assert "left out: /etc/authbind/byport/80: it refuses nobody (uid 65534)" in process.stdout
    assert "DIFFERS" not in process.stdout
    assert "differs: left out: it refuses nobody" in process.stdout
    assert ctl.lines("bygroup/2001") == []


def test_behind_a_flag_file_that_cannot_stand_here():
    """A file that authbind never reached, because another file decides, grants nothing."""
    rules("bygroup/2000", "127.0.0.1,80")
    old_flag("byport/80", gid=2001, mode=0o750)
    old_flag("byaddr/::1,80", uid=UID, mode=0o500)
    old_flag("byaddr/127.0.0.2:80", mode=0o755)
    text = ctl.done("import", "authbind", "--apply")
    assert text.count("is not made: byport/80 decides before it there") == 2
    assert set(ctl.snapshot()) == {"bygroup/2000", "bygroup/2001"}
    assert "DIFFERS" not in text
    assert not granted("[::1]:80")
    assert not granted("127.0.0.2:80", 4242)


def test_no_member_of_a_group_loses_a_port():
    """A flag file that admits a group but refuses one member would take that member's port."""
    rules("bygroup/2000", "any,80", "any,81")
    path = old_flag("byport/80", mode=0o755)
    subprocess.run(["setfacl", "-m", f"g:2000:x,u:{UID}:-", path], check=True)
    path = old_flag("byport/81", mode=0o755)
    subprocess.run(["setfacl", "-m", "g:2001:-", path], check=True)
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert process.returncode == 1
    assert process.stdout.count("and others have the port here: no file can say both") == 2 * 2
    assert set(ctl.snapshot()) == {"bygroup/2000"}
    for port in (80, 81):
        process = support.run(
            [support.PYBIND, "--check", "--port", f"{port}/tcp"], groups=(2000, 2001)
        )
        assert process.returncode == 0
