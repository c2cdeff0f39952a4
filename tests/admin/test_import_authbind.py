# SPDX-License-Identifier: GPL-3.0-or-later
"""What an import carries over from authbind's folder and what it leaves out, beside the files of this host.

The files that are here stay, and nobody loses a port.
"""

import subprocess

import ctl
import printed
import pytest
import support
from ctl import AUTHBIND, check_grants, old_flag
from support import CONFIG, OTHER_UID, UID, flag, pybind, rules

authbind = pytest.fixture(autouse=True)(ctl.authbind_folders)


def test_apply_and_again():
    """authbind's grants are made and verified, and a second run finds nothing to do."""
    old_flag("byport/80", uid=UID, mode=0o500)
    old_flag("byport/443", gid=2000, mode=0o750)
    old_flag("byport/!631")
    old_flag("byaddr/127.0.0.1:22", gid=UID, mode=0o750)
    (AUTHBIND / "byuid" / str(OTHER_UID)).write_text("# mine\n127.0.0.1,25\n")
    text = ctl.done("import", "authbind", "--apply")
    assert "answers are as before" in text
    assert "DIFFERS" not in text
    assert check_grants("80")
    assert not check_grants("80", OTHER_UID)
    assert check_grants("631")
    assert check_grants("127.0.0.1:22")
    assert check_grants("127.0.0.1:25", OTHER_UID)
    assert not check_grants("443")
    head = f"# from /etc/authbind/byuid/{OTHER_UID}"
    assert ctl.lines(f"byuser/{OTHER_UID}") == [head, "# mine", "127.0.0.1,25"]
    assert (CONFIG / "byport/443").stat().st_gid == 2000
    before = ctl.snapshot()
    assert "nothing to do" in ctl.done("import", "authbind", "--apply")
    assert ctl.snapshot() == before


def test_owner_becomes_an_entry():
    """A flag file that the user owns becomes root's, with an entry for the user."""
    old_flag("byport/80", uid=UID, mode=0o500)
    assert f"belongs to nobody (uid {UID})" in ctl.done("import", "authbind", "--apply")
    assert (CONFIG / "byport/80").stat().st_uid == 0
    assert pybind("-q", "--port", "80", "true").returncode == 0


def test_lists_and_links_are_kept():
    """An access control list grants the same users; a link is followed as by authbind."""
    target = old_flag("target", mode=0o700)
    subprocess.run(["setfacl", "-m", f"u:{UID}:x,u:{OTHER_UID}:-", target], check=True)
    (AUTHBIND / "byport/80").symlink_to(target)
    ctl.done("import", "authbind", "--apply")
    assert check_grants("80")
    assert not check_grants("80", OTHER_UID)
    assert not check_grants("80", 4242)


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("10.0.0.0/8:80,90", "10.0.0.0/8:80,90"),
        (" 10.0.0.0/8: 80, 90 ", "10.0.0.0/8,80-90"),
        ("10.0.0.1,080", "10.0.0.1,80"),
        ("10.0.0.1, 80- 90", "10.0.0.1,80-90"),
        ("::/0,1-65536", "::/0,1-1023"),
        ("10.0.0.1-10.0.0.9,80\r", "10.0.0.1-10.0.0.9,80"),
        ("10.0.0.1/ 32 ,80\0x", "10.0.0.1,80"),
        ("10.0.0.1,80" + " " * 280, "10.0.0.1,80"),
    ],
)
def test_lines_in_a_strict_spelling(line, becomes):
    """A line that only authbind reads is written in a spelling that pybind reads too."""
    (AUTHBIND / f"byuid/{UID}").write_bytes(line.encode() + b"\n::1,22\n")
    ctl.done("import", "authbind", "--apply")
    assert ctl.lines(f"byuser/{UID}")[1:] == [becomes, "::1,22"]
    assert check_grants("[::1]:22")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("any,80", "here it would grant something"),
        ("10.0.0.1,80/tcp", "here it would grant something"),
        ("10.0.0.1,80 # web", "here it would grant something"),
        ("10.0.0.1,4294967376", "authbind reads 4294967376 as 80"),
        ("10.0.0.1,80--1", "authbind reads -1 as 4294967295"),
        ("10.0.0.1/8,80", "bits set beyond its prefix"),
        ("10.0.0.1,90-80", "minimum is above its maximum"),
        ("alice,80", "not an IPv4 or IPv6 address"),
        ("10.0.0.1,6667", "authbind never serves ports from 1024 on"),
        ("\x1b[2Kx", "byte that no rule contains"),
    ],
)
def test_lines_left_out(line, why):
    """A line that never matched, or that nobody can have meant, becomes a comment."""
    (AUTHBIND / f"byuid/{UID}").write_text(line + "\n::1,22\n")
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert process.returncode == 0, process.stdout
    assert (
        f"line 1 ({line.replace(chr(27), chr(92) + 'x1b')}): is not carried over" in process.stdout
    )
    assert why in process.stdout
    written = ctl.lines(f"byuser/{UID}")
    assert written[1].startswith("# not carried over (")
    assert written[2:] == ["::1,22"]
    assert check_grants("[::1]:22")
    assert not check_grants("10.0.0.1:80")


def test_tail_of_a_long_comment():
    """authbind reads the end of a long comment as a rule: left out and listed as a difference."""
    text = "#".ljust(298, "x") + "127.0.0.1,80\n"
    (AUTHBIND / f"byuid/{UID}").write_text(text)
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert "differs: authbind takes the line from byte 299 on for a rule" in process.stdout
    assert "127.0.0.1:80 is refused now" in process.stdout
    assert process.returncode == 0
    assert not check_grants("127.0.0.1:80")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("byport/53,udp", "authbind knows no protocols"),
        ("byport/080", "PORT[,PROTOCOL]"),
        ("byport/631", "needs a '!'"),
        ("byport/!80", "must have no '!'"),
        ("byport/80.dpkg-old", "none that authbind looks at"),
        ("byport/!6667", "authbind never serves port 6667"),
        ("byport/6667", "authbind never serves port 6667"),
        ("byaddr/::ffff:127.0.0.1,80", "mapped-refused"),
        ("byaddr/0:0::1,80", "is spelled"),
        ("byuid/alice", "pybindctl grant USER PORT"),
    ],
)
def test_files_that_authbind_never_reads(name, why):
    """Files that authbind never reads are named with the reason and left out."""
    old_flag(name)
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert process.returncode == 1
    assert why in process.stdout
    assert "nothing could be taken over" in process.stdout
    assert ctl.snapshot() == {}
    old_flag("byport/22")
    assert why in ctl.done("import", "authbind", "--apply")


def test_name_that_authbind_reads_no_rules_of():
    """A file of byuid that has a name is told what grants a user a port."""
    (AUTHBIND / "byuid/nobody").write_text("127.0.0.1,80\n")
    said = ctl.pybindctl("import", "authbind").stdout
    name = "authbind._Reader.read_rule_files: sudo pybindctl grant USER PORT"
    command = printed.said(said, name).replace("USER", "nobody").replace("PORT", "80")
    printed.type_as_root(command)
    assert ctl.served("80")


@pytest.mark.parametrize(
    ("name", "content", "commands"),
    [
        ("byaddr/::,80", "", ["grant everyone 0.0.0.0:80"]),
        (f"byuid/{UID}", "::,80\n", ["grant nobody 0.0.0.0:80"]),
        (f"byuid/{UID}", "::/0,80-90\n", ["grant nobody 0.0.0.0:80-90", "grant nobody 0.0.0.0/0:80-90"]),
        (f"byuid/!{UID}", "::-::5,631\n", ["grant nobody 0.0.0.0:631"]),
    ],
)  # fmt: skip
def test_wildcard_alone(name, content, commands):
    """The plan names a grant of :: alone, with the commands that keep it."""
    old_flag(name).write_text(content)
    before = ctl.snapshot()
    plan = ctl.done("import", "authbind")
    assert ctl.snapshot() == before
    assert "differs: wildcard-needs-both" in plan
    assert "would be refused" in plan
    for command in commands:
        assert f"to keep it: sudo pybindctl {command}\n" in plan
    done = ctl.done("import", "authbind", "--apply")
    assert "differs: wildcard-needs-both" in done
    assert done.count("to keep it: sudo pybindctl") == len(commands)
    for line in done.splitlines():
        if "to keep it" in line:
            printed.typed_saying_yes(line, "import_._say_compared: sudo ...")
    again = ctl.done("import", "authbind")
    assert "differs" not in again
    assert "to keep it" not in again


def test_unsearchable_folder():
    """authbind refuses all to a user who cannot search byport; no file of pybind can say so."""
    old_flag("byport/80")
    (AUTHBIND / "byport").chmod(0o750)
    ctl.failed(3, "import", "authbind", "--apply", words=["mode 0750", "chmod 0755"])


def test_folder_in_place_of_a_flag_file():
    """authbind grants by a folder's mode too; a note says what stands there."""
    (AUTHBIND / "byport/90").mkdir(mode=0o755)
    plan = ctl.done("import", "authbind")
    assert "note: /etc/authbind/byport/90: a directory; authbind grants by its mode" in plan
    assert "DIFFERS" not in ctl.done("import", "authbind", "--apply")
    assert check_grants("90")
    assert (CONFIG / "byport/90").is_file()


def test_what_is_here_stays():
    """Grants that were here keep their answers; an import only adds to them."""
    rules(f"byuser/{OTHER_UID}", "any,80", "# kept")
    flag("byport/443", gid=UID)
    old_flag("byport/80", gid=2000, mode=0o750)
    old_flag("byport/443", uid=4242, mode=0o500)
    (AUTHBIND / f"byuid/{OTHER_UID}").write_text("127.0.0.1,25\n")
    ctl.pybindctl("import", "authbind", "--apply")
    assert check_grants("80", OTHER_UID)
    assert check_grants("443")
    assert check_grants("443", 4242)
    assert check_grants("127.0.0.1:25", OTHER_UID)
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
        assert not check_grants(port, 13)
    assert not check_grants("127.0.0.1:82", 13)


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
    assert not check_grants("[::1]:80")
    assert not check_grants("127.0.0.2:80", 4242)


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
