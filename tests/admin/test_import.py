# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import: its plan, what it leaves out, and the helper's answers afterwards."""

import json
import pathlib
import pwd
import shutil
import subprocess

import ctl
import importing
import printed
import pytest
import support
from importing import AUTHBIND, granted, old_flag
from support import CONFIG, OTHER_UID, UID, flag, pybind, rules

from pybind.admin.asking import in_kernel

authbind = pytest.fixture(autouse=True)(importing.empty_folders)


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


def test_needs_root_and_a_folder():
    """Applying needs root; a missing folder is named."""
    process = support.run([ctl.PYBINDCTL, "import", "authbind", "--apply"])
    assert process.returncode == 4
    ctl.failed(2, "import", "authbind", "/nonexistent", words=["/nonexistent"])
    ctl.failed(2, "import", "daemonusr", "/nonexistent", words=["/nonexistent"])


def test_json_of_a_plan():
    """--json gives the plan as one object."""
    old_flag("byport/80")
    answer = ctl.as_json("import", "authbind")
    assert answer["applied"] is False
    assert [change["file"] for change in answer["changes"]] == ["/etc/pybind/byport/80"]
    json.dumps(answer)


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
    name = "flag_files.of_folders: sudo pybindctl import authbind --apply ..."
    command = printed.said(command, name).replace(pwd.getpwuid(0).pw_dir + "/", f"{tmp_path}/")
    printed.type_as_root(command)
    assert (CONFIG / "byport/80").stat().st_uid == 0
    assert granted("80")
    assert not granted("80", OTHER_UID)
    assert granted("127.0.0.1:25", OTHER_UID)
    left = {each["code"] for each in ctl.as_json("lint")["findings"]}
    assert left <= {"no-user"}  # the account of this test's second user
    assert [path.name for path in (tmp_path / "byuid").iterdir()] == [str(OTHER_UID)]


def test_after_a_copied_tree(tmp_path):
    """What the copy had beside our folders is put away by the command that import ends with."""
    (AUTHBIND / f"byuid/{UID}").write_text("127.0.0.1,25\n")
    subprocess.run(["cp", "-a", f"{AUTHBIND}/.", CONFIG], check=True)
    done = ctl.done("import", "authbind", "--apply", CONFIG)
    command = printed.said(done, "import_._next_steps: {put_away}")
    printed.type_as_root(command.replace(pwd.getpwuid(0).pw_dir + "/", f"{tmp_path}/"))
    assert [path.name for path in (tmp_path / "byuid").iterdir()] == [str(UID)]
    assert ctl.done("lint").startswith("nothing to repair")


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
    command = printed.said(done, "import_._next_steps: grep -rls authbind ...")
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=False).stderr == b""
    assert granted("80")
    assert granted("81")
    assert granted("81", 4242)


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


@pytest.mark.parametrize("judged", [True, False])
def test_what_comes_next_beside_pybindd(judged, monkeypatch, tmp_path):
    """Where the kernel judges, no next step asks for a wrapper."""
    monkeypatch.setattr(in_kernel, "judges_all", lambda: judged)
    old_flag("byport/80")
    path = tmp_path / "daemonusr"
    path.write_text(f"25:{UID}\n")
    for args in (["authbind"], ["daemonusr", str(path)]):
        status, out = ctl.run_here("import", *args, "--apply")
        assert (status, "next: " in out) == (0, True), out
        assert ("because pybindd runs\n" in out) == judged
        assert ("write pybind" in out or "pybind --port" in out) == (not judged)
