# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import: the plan, what is not carried over, and the same answers afterwards."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import ctl
import pytest
import support
from support import CONFIG, OTHER_UID, UID, flag, pybind, rules

AUTHBIND = pathlib.Path("/etc/authbind")


@pytest.fixture(autouse=True)
def authbind():
    """Give each test empty folders of authbind's, as its package makes them."""
    shutil.rmtree(AUTHBIND, ignore_errors=True)
    for folder in (AUTHBIND, *(AUTHBIND / name for name in ("byport", "byaddr", "byuid"))):
        folder.mkdir(mode=0o755)
    yield AUTHBIND
    shutil.rmtree(AUTHBIND, ignore_errors=True)


def old_flag(name, uid=0, gid=0, mode=0o755):
    path = AUTHBIND / name
    path.touch()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def granted(spec, uid=UID):
    return ctl.pybindctl("check", spec, "--user", uid).returncode == 0


def test_plan_changes_nothing():
    """Without --apply everything is shown and nothing is written."""
    old_flag("byport/80", uid=UID, mode=0o500)
    (AUTHBIND / "byuid" / str(OTHER_UID)).write_text("127.0.0.1,25\nrubbish\n")
    before = ctl.snapshot()
    text = ctl.done("import", "authbind")
    assert ctl.snapshot() == before
    assert "would be made /etc/pybind/byport/80" in text
    assert f"byuid/{OTHER_UID} line 2 (rubbish): is not carried over: authbind skips it" in text
    assert "--apply" in text


def test_apply_and_again():
    """What authbind granted is granted, proved, and a second run finds nothing to do."""
    old_flag("byport/80", uid=UID, mode=0o500)
    old_flag("byport/443", gid=2000, mode=0o750)
    old_flag("byport/!631")
    old_flag("byaddr/127.0.0.1:22", gid=UID, mode=0o750)
    (AUTHBIND / "byuid" / str(OTHER_UID)).write_text("# mine\n127.0.0.1,25\n")
    text = ctl.done("import", "authbind", "--apply")
    assert "answers are as before" in text
    assert "DIFFERS" not in text
    assert granted("80")
    assert not granted("80", OTHER_UID)
    assert granted("631")
    assert granted("127.0.0.1:22")
    assert granted("127.0.0.1:25", OTHER_UID)
    assert not granted("443")
    head = f"# from /etc/authbind/byuid/{OTHER_UID}"
    assert ctl.lines(f"byuser/{OTHER_UID}") == [head, "# mine", "127.0.0.1,25"]
    assert (CONFIG / "byport/443").stat().st_gid == 2000
    before = ctl.snapshot()
    assert "nothing to do" in ctl.done("import", "authbind", "--apply")
    assert ctl.snapshot() == before


def test_owner_becomes_an_entry():
    """A file of the user's, who could open it to everybody, becomes root's with his entry."""
    old_flag("byport/80", uid=UID, mode=0o500)
    assert f"belongs to nobody (uid {UID})" in ctl.done("import", "authbind", "--apply")
    assert (CONFIG / "byport/80").stat().st_uid == 0
    assert pybind("-q", "--port", "80", "true").returncode == 0


def test_lists_and_links_are_kept():
    """An access control list grants the same users; a link is followed, as authbind does."""
    target = old_flag("target", mode=0o700)
    subprocess.run(["setfacl", "-m", f"u:{UID}:x,u:{OTHER_UID}:-", target], check=True)
    (AUTHBIND / "byport/80").symlink_to(target)
    ctl.done("import", "authbind", "--apply")
    assert granted("80")
    assert not granted("80", OTHER_UID)
    assert not granted("80", 4242)


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
    """What authbind reads and a strict reader does not is written so that both do."""
    (AUTHBIND / f"byuid/{UID}").write_bytes(line.encode() + b"\n::1,22\n")
    ctl.done("import", "authbind", "--apply")
    assert ctl.lines(f"byuser/{UID}")[1:] == [becomes, "::1,22"]
    assert granted("[::1]:22")


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
    """What authbind never matched, or nobody can have meant, becomes a comment with the reason."""
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
    assert granted("[::1]:22")
    assert not granted("10.0.0.1:80")


def test_tail_of_a_long_comment():
    """authbind takes it for a rule: it is left out, and the difference is listed with its reason."""
    text = "#".ljust(298, "x") + "127.0.0.1,80\n"
    (AUTHBIND / f"byuid/{UID}").write_text(text)
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert "explained 127.0.0.1:80/tcp" in process.stdout
    assert "takes the line from byte 299 on for a rule" in process.stdout
    assert process.returncode == 0
    assert not granted("127.0.0.1:80")


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
    """They are named with the reason, and nothing is made of them."""
    old_flag(name)
    text = ctl.done("import", "authbind", "--apply")
    assert why in text
    assert ctl.snapshot() == {}


def test_wildcard_is_explained():
    """A grant of :: alone is listed with the difference that refuses it here."""
    old_flag("byaddr/::,80")
    text = ctl.done("import", "authbind", "--apply")
    assert "explained [::]:80/tcp" in text
    assert "wildcard-needs-both" in text


def test_unsearchable_folder():
    """Who cannot search byport is refused all by authbind: no file here can say that."""
    old_flag("byport/80")
    (AUTHBIND / "byport").chmod(0o750)
    ctl.failed(3, "import", "authbind", "--apply", words=["mode 0750", "chmod 0755"])


def test_what_is_here_stays():
    """Grants of before keep their answers; what an import adds comes beside them."""
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
    """A broken rule file here is named; nothing is written."""
    rules(f"byuser/{UID}", "rubbish")
    (AUTHBIND / f"byuid/{UID}").write_text("127.0.0.1,25\n")
    old_flag("byport/80")
    ctl.failed(3, "import", "authbind", "--apply", words=[f"byuser/{UID} line 1"])


def test_differences_end_with_1():
    """A flag file of before that refuses what authbind granted is listed, status 1."""
    flag("byport/80,tcp", uid=0, gid=0, mode=0o700)
    (AUTHBIND / f"byuid/{UID}").write_text("127.0.0.1,80\n")
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert process.returncode == 1
    assert "DIFFERS 127.0.0.1:80/tcp" in process.stdout
    assert "/etc/pybind/byport/80,tcp: permission file is not executable" in process.stdout


def many_old_grants():
    for port in range(20, 40):
        old_flag(f"byport/{port}", uid=UID, gid=2000, mode=0o570)
    for uid in range(3000, 3020):
        (AUTHBIND / f"byuid/{uid}").write_text("127.0.0.1,80\n" * 50)


def test_killed_at_any_moment():
    """Every file is whole, and the next run completes what is left to do."""
    many_old_grants()
    apply = ("import", "authbind", "--apply")
    status, count, err = ctl.killed(0, "kill", apply)
    assert (status, err) == (0, "")
    complete = ctl.snapshot()
    seen = set()
    for at in range(1, count, count // 30):
        support.clear_config()
        assert ctl.killed(at, "kill", apply)[0] == -signal.SIGKILL
        here = {name: what for name, what in ctl.snapshot().items() if ".pybindctl" not in name}
        seen.add(len(here))
        for name, what in here.items():
            assert what == complete[name]
        assert ctl.pybindctl(*apply).returncode == 0
        assert ctl.snapshot() == complete
    assert len(seen) > 3


def test_no_room():
    """Where a file cannot be written nothing is left of the others."""
    many_old_grants()
    script = (
        f"mount -t tmpfs -o mode=755,nr_inodes=30 tmpfs {CONFIG} && {ctl.PYBINDCTL} setup && "
        f"{ctl.PYBINDCTL} import authbind --apply; echo $?; find {CONFIG} -type f"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "1", done.stdout
    assert "No space left" in done.stderr
    assert "nothing was changed" in done.stderr


def test_needs_root_and_a_folder():
    """Applying needs root; a folder that is not there is named."""
    process = support.run([ctl.PYBINDCTL, "import", "authbind", "--apply"])
    assert process.returncode == 4
    ctl.failed(2, "import", "authbind", "/nonexistent", words=["/nonexistent"])
    ctl.failed(2, "import", "daemonusr", "/nonexistent", words=["/nonexistent"])


def test_daemonusr(tmp_path):
    """Lines PORT:USER become grants; unknown users are left out; again changes nothing."""
    path = tmp_path / "daemonusr"
    path.write_text(f"# mail\n25:{UID}\n\n80:nobody, 443:www-data # web\n700:{UID}\n25:no-such\n")
    text = ctl.done("import", "daemonusr", "--apply", path)
    assert "no user 'no-such'" in text
    assert "0 of" not in text
    for spec in ("25", "80", "700", "25/udp"):
        assert granted(spec)
    assert granted("443", "www-data")
    assert not granted("443")
    before = ctl.snapshot()
    assert "nothing to do" in ctl.done("import", "daemonusr", "--apply", path)
    assert ctl.snapshot() == before


@pytest.mark.parametrize("line", ["25", "25:", ":exim", "x:1:root", "99999:root", "80:everyone"])
def test_daemonusr_wrong(tmp_path, line):
    """A line that is not PORT:USER is named; nothing is written."""
    path = tmp_path / "daemonusr"
    path.write_text(f"80:{UID}\n{line}\n")
    ctl.failed(3, "import", "daemonusr", "--apply", path, words=[f"{path} line 2"])


def test_portacl():
    """FreeBSD's rules, also as sysctl prints them."""
    words = f"security.mac.portacl.rules: uid:{UID}:tcp:80,gid:2000:udp:53, uid:{UID}:tcp:0"
    answer = ctl.as_json("import", "portacl", words, "--apply")
    assert answer["differences"] == []
    assert answer["asked"] == 4
    assert [note["why"] for note in answer["left"]] == [
        "port 0 means any free port, and needs no grant"
    ]
    assert ctl.lines(f"byuser/{UID}") == ["any,80/tcp"]
    assert ctl.lines("bygroup/2000") == ["any,53/udp"]
    assert granted("80")
    assert not granted("80/udp")


@pytest.mark.parametrize(
    "rule", ["uid:80:tcp", "uid:80:sctp:80", "uid:x:tcp:80", "gid:1:udp:65536"]
)
def test_portacl_wrong(rule):
    """A rule that is none is named; nothing is written."""
    ctl.failed(3, "import", "portacl", f"uid:1:tcp:80,{rule}", "--apply", words=["rule 2", rule])


def test_json_of_a_plan():
    """The plan as one object."""
    old_flag("byport/80")
    answer = ctl.as_json("import", "authbind")
    assert answer["applied"] is False
    assert [change["file"] for change in answer["changes"]] == ["/etc/pybind/byport/80"]
    json.dumps(answer)


@pytest.mark.parametrize("folder", ["byport", "byaddr", "byuser", "bygroup"])
def test_inherited_lists(folder):
    """A default list of a folder changes no file: what was planned is what is there."""
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
