# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import: its plan, what it leaves out, and the helper's answers afterwards."""

import itertools
import json
import os
import pathlib
import pwd
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
    """authbind's grants are made and verified, and a second run finds nothing to do."""
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
    """A line that only authbind reads is written in a spelling that pybind reads too."""
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
    assert granted("[::1]:22")
    assert not granted("10.0.0.1:80")


def test_tail_of_a_long_comment():
    """authbind reads the end of a long comment as a rule: left out and listed as a difference."""
    text = "#".ljust(298, "x") + "127.0.0.1,80\n"
    (AUTHBIND / f"byuid/{UID}").write_text(text)
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert "differs: authbind takes the line from byte 299 on for a rule" in process.stdout
    assert "127.0.0.1:80 is refused now" in process.stdout
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
    """Files that authbind never reads are named with the reason and left out."""
    old_flag(name)
    process = ctl.pybindctl("import", "authbind", "--apply")
    assert process.returncode == 1
    assert why in process.stdout
    assert "nothing could be taken over" in process.stdout
    assert ctl.snapshot() == {}
    old_flag("byport/22")
    assert why in ctl.done("import", "authbind", "--apply")


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
    for command in commands:
        ctl.done(*command.split(), "--yes")
    again = ctl.done("import", "authbind")
    assert "differs" not in again
    assert "to keep it" not in again


def test_unsearchable_folder():
    """authbind refuses all to a user who cannot search byport; no file of pybind can say so."""
    old_flag("byport/80")
    (AUTHBIND / "byport").chmod(0o750)
    ctl.failed(3, "import", "authbind", "--apply", words=["mode 0750", "chmod 0755"])


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


def many_old_grants():
    for port in range(20, 28):
        old_flag(f"byport/{port}", uid=UID, gid=2000, mode=0o570)
    for uid in range(3000, 3020):
        (AUTHBIND / f"byuid/{uid}").write_text("127.0.0.1,80\n" * 50)


def test_killed_at_any_moment():
    """After a kill every file is whole, and the next run completes the import."""
    many_old_grants()
    apply = ("import", "authbind", "--apply")
    status, count, err = ctl.killed(0, "kill", apply)
    assert (status, err) == (0, "")
    complete = ctl.snapshot()
    seen = set()
    for at in range(1, count, count // 20):
        support.clear_config()
        assert ctl.killed(at, "kill", apply)[0] == -signal.SIGKILL
        here = {name: what for name, what in ctl.snapshot().items() if ".pybindctl" not in name}
        seen.add(len(here))
        for name, what in here.items():
            assert what == complete[name]
        assert ctl.pybindctl(*apply).returncode == 0
        assert ctl.snapshot() == complete
    assert len(seen) > 3


def test_failed_at_any_moment():
    """Whichever call fails, nothing is changed."""
    rules(f"byuser/{OTHER_UID}", "any,22", "any,81")
    flag("byport/82", gid=2000)
    old_flag("byport/80")
    old_flag("byport/81", gid=UID, mode=0o750)  # becomes a line: OTHER_UID has the port here
    old_flag("byport/82", uid=4242, mode=0o500)  # becomes an entry
    (AUTHBIND / f"byuid/{OTHER_UID}").write_text("127.0.0.1,25\n")
    before = ctl.snapshot()
    apply = ("import", "authbind", "--apply")
    failed = 0
    for at in itertools.count(1):
        status, count, err = ctl.killed(at, "fail", apply)
        if count < at:
            break
        if status == 0:  # a failure to clean up is no failure of the import
            continue
        failed += 1
        assert ctl.snapshot() == before, at
        assert "nothing was changed" in err, err
        assert "Traceback" not in err
    assert failed > 10
    assert granted("81")
    assert granted("82", 4242)


def test_no_room():
    """If one file cannot be written, none of the other files stays."""
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
    """Applying needs root; a missing folder is named."""
    process = support.run([ctl.PYBINDCTL, "import", "authbind", "--apply"])
    assert process.returncode == 4
    ctl.failed(2, "import", "authbind", "/nonexistent", words=["/nonexistent"])
    ctl.failed(2, "import", "daemonusr", "/nonexistent", words=["/nonexistent"])


def test_daemonusr(tmp_path):
    """Lines PORT:USER become grants, without unknown users; a second run changes nothing."""
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
    """A line that is not PORT:USER is named, and nothing is written."""
    path = tmp_path / "daemonusr"
    path.write_text(f"80:{UID}\n{line}\n")
    ctl.failed(3, "import", "daemonusr", "--apply", path, words=[f"{path} line 2"])


def test_portacl():
    """FreeBSD's rules become grants, even in the form that sysctl prints."""
    words = f"security.mac.portacl.rules: uid:{UID}:tcp:80,gid:2000:udp:53, uid:{UID}:tcp:0"
    answer = ctl.as_json("import", "portacl", words, "--apply")
    assert answer["differences"] == []
    assert answer["asked"] == 14  # the wildcards, the mapped and the other addresses
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
    """A malformed rule is named, and nothing is written."""
    ctl.failed(3, "import", "portacl", f"uid:1:tcp:80,{rule}", "--apply", words=["rule 2", rule])


def test_json_of_a_plan():
    """--json gives the plan as one object."""
    old_flag("byport/80")
    answer = ctl.as_json("import", "authbind")
    assert answer["applied"] is False
    assert [change["file"] for change in answer["changes"]] == ["/etc/pybind/byport/80"]
    json.dumps(answer)


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


def test_names_beside_numbers(tmp_path):
    """The plan says whose a number is, because another system may number users differently."""
    rules_text = "uid:8:tcp:119,gid:33:udp:53,uid:4242:tcp:80"
    text = ctl.done("import", "portacl", rules_text)
    assert "note: rule 1 (uid:8:tcp:119): uid 8 is mail on this host" in text
    assert "gid 33 is @www-data on this host" in text
    assert "uid 4242 has no name on this host" in text
    assert "would be made /etc/pybind/byuser/8 (mail)\n" in text
    path = tmp_path / "list"
    path.write_text("25:8, 26:mail\n")
    text = ctl.done("import", "daemonusr", path)
    assert text.count("uid 8 is mail on this host") == 1
    old_flag("byport/80", uid=8, gid=33, mode=0o550)
    (AUTHBIND / "byuid/8").write_text("127.0.0.1,25\n")
    text = ctl.done("import", "authbind")
    assert "byport/80 (mode 0750 owner 0 group 33 (www-data) user:8 (mail):r-x)" in text
    assert "would be made /etc/pybind/byuser/8 (mail)\n" in text


def test_copied_tree(tmp_path):
    """After cp -a of authbind's folder lint proposes an import, and is silent after it."""
    old_flag("byport/80", uid=UID, mode=0o500)
    (AUTHBIND / f"byuid/{OTHER_UID}").write_text("127.0.0.1,25\n")
    subprocess.run(["cp", "-a", f"{AUTHBIND}/.", CONFIG], check=True)
    found = ctl.as_json("lint")["findings"]
    command = next(each["repair"] for each in found if each["file"].endswith("/byuid"))
    plan = ctl.done("import", "authbind", CONFIG)
    assert "here it is root's, with an entry for that user" in plan
    assert "would be changed /etc/pybind/byport/80" in plan
    command = command.replace(pwd.getpwuid(0).pw_dir + "/", f"{tmp_path}/")
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert (CONFIG / "byport/80").stat().st_uid == 0
    assert granted("80")
    assert not granted("80", OTHER_UID)
    assert granted("127.0.0.1:25", OTHER_UID)
    left = {each["code"] for each in ctl.as_json("lint")["findings"]}
    assert left <= {"no-user"}  # the account of this test's second user
    assert [path.name for path in (tmp_path / "byuid").iterdir()] == [str(OTHER_UID)]


def test_wrong_folder():
    """For a folder one level too deep or too high, the error says what is there."""
    old_flag("byport/80")
    err = ctl.failed(2, "import", "authbind", AUTHBIND / "byport")
    assert "no byport, byaddr or byuid there: it has '80'" in err
    assert "no byport, byaddr or byuid there" in ctl.failed(2, "import", "authbind", "/etc")
    shutil.rmtree(AUTHBIND / "byport")
    (AUTHBIND / "byuser").mkdir()
    text = ctl.pybindctl("import", "authbind").stdout
    assert "byuser: authbind never looks at it" in text
    assert "nothing could be taken over" in text
    (AUTHBIND / "byuser").rmdir()
    assert "it grants nothing" in ctl.done("import", "authbind")


def test_words_of_a_plan():
    """The plan has a line for each file, and at the end what is left to do by hand."""
    flag("byport/80", uid=0, gid=2000)
    rules("byuser/4242", "any,81")
    old_flag("byport/80", uid=UID, mode=0o500)
    old_flag("byport/81", uid=UID, mode=0o500)
    plan = ctl.done("import", "authbind")
    assert "note: /etc/authbind/byport/81: belongs to nobody (uid 65534)" in plan
    assert "here it becomes a grant of 81 to nobody (uid 65534)" in plan
    assert plan.count("/etc/pybind/byport/80 ") + plan.count("/etc/pybind/byport/80\n") == 1
    assert "next:" not in plan
    carry_out = "to carry it out: sudo pybindctl import authbind --apply"
    assert plan.splitlines()[-1] == carry_out
    done = support.type_repair(carry_out)
    assert "next: in start scripts write pybind for authbind" in done
    command = done.splitlines()[-1].partition(": ")[2]
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=False).stderr == b""
    assert granted("80")
    assert granted("81")
    assert granted("81", 4242)


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


def test_plan_by_an_ordinary_user():
    """Whoever may read the files sees the plan, but only root can try the plan."""
    old_flag("byport/80")
    process = support.run([ctl.PYBINDCTL, "import", "authbind"])
    assert process.returncode == 0
    assert "would be made /etc/pybind/byport/80" in process.stdout
    assert "not tried: only root can try the plan" in process.stderr


def test_nothing_stays_of_a_trial():
    """The copy in which a plan is tried is removed, and only root could write to the copy."""
    old_flag("byport/80")
    ctl.done("import", "authbind")
    places = map(pathlib.Path, ("/run", "/tmp", "/var/tmp"))
    assert [path for place in places for path in place.glob("pybindctl-plan.*")] == []


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


def test_helper_without_its_capability():
    """Without the helper's capability the report says that nobody can bind, and the repair."""
    old_flag("byport/80")
    subprocess.run(["setcap", "-r", support.HELPER], check=True)
    try:
        assert ctl.pybindctl("import", "authbind").returncode == 3
        process = ctl.pybindctl("import", "authbind", "--apply")
    finally:
        subprocess.run(["setcap", "cap_net_bind_service=p", support.HELPER], check=True)
    assert process.returncode == 3
    assert "made /etc/pybind/byport/80" in process.stdout
    assert "not proved" in process.stderr
    assert "repair: sudo pybindctl setup" in process.stderr
    assert granted("80", 4242)


def test_nobody_can_be_asked():
    """An import that cannot ask as other users is made, but not called verified."""
    old_flag("byport/80")
    drop = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all", "sh", "-c"]
    command = [*drop, f"exec {ctl.PYBINDCTL} import authbind --apply"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "made /etc/pybind/byport/80" in process.stdout
    assert "not proved: cannot ask as uid" in process.stderr
    assert ctl.snapshot() != {}


def test_folder_in_place_of_a_flag_file():
    """authbind grants by a folder's mode too; a note says what stands there."""
    (AUTHBIND / "byport/90").mkdir(mode=0o755)
    plan = ctl.done("import", "authbind")
    assert "note: /etc/authbind/byport/90: a directory; authbind grants by its mode" in plan
    assert "DIFFERS" not in ctl.done("import", "authbind", "--apply")
    assert granted("90")
    assert (CONFIG / "byport/90").is_file()


def test_what_comes_next(tmp_path):
    """Where authbind's command line is not pybind's, the package that has it is named."""
    old_flag("byport/80", uid=UID, mode=0o500)
    command_line = pathlib.Path(support.PREFIX, "share/pybind/startauthbind.py")
    hint = "or let them stay as they are: the package pybind-ports-authbind, authbind(1)"
    kept = shutil.move(command_line, tmp_path) if command_line.exists() else None
    try:
        assert hint in ctl.done("import", "authbind", "--apply").splitlines()
        command_line.touch()
        assert "package" not in ctl.done("import", "authbind", "--apply")
    finally:
        command_line.unlink(missing_ok=True)
        if kept:
            shutil.move(kept, command_line)
