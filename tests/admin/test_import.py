# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import: its plan and what comes next, and the lists of daemonusr and mac_portacl."""

import json
import pathlib
import pwd
import shutil
import subprocess

import ctl
import printed
import pytest
import support
from ctl import AUTHBIND, check_grants, old_flag
from support import CONFIG, OTHER_UID, UID, flag, pybind, rules

from pybind.admin.asking import in_kernel

authbind = pytest.fixture(autouse=True)(ctl.authbind_folders)


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


def test_import_that_was_only_planned():
    """The command that a plan ends with carries it out."""
    path = support.scratch_dir() / "list"
    path.write_text("25:nobody\n")
    out = ctl.done("import", "daemonusr", path)
    printed.typed(out, "import_._print: sudo pybindctl import ... --apply")
    assert ctl.served("25")


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
    assert check_grants("80")
    assert not check_grants("80", OTHER_UID)
    assert check_grants("127.0.0.1:25", OTHER_UID)
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
    assert check_grants("80")
    assert check_grants("81")
    assert check_grants("81", 4242)


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


def test_daemonusr(tmp_path):
    """Lines PORT:USER become grants, without unknown users; a second run changes nothing."""
    path = tmp_path / "daemonusr"
    path.write_text(f"# mail\n25:{UID}\n\n80:nobody, 443:www-data # web\n700:{UID}\n25:no-such\n")
    text = ctl.done("import", "daemonusr", "--apply", path)
    assert "no user 'no-such'" in text
    assert "0 of" not in text
    for spec in ("25", "80", "700", "25/udp"):
        assert check_grants(spec)
    assert check_grants("443", "www-data")
    assert not check_grants("443")
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
    assert check_grants("80")
    assert not check_grants("80/udp")


@pytest.mark.parametrize(
    "rule", ["uid:80:tcp", "uid:80:sctp:80", "uid:x:tcp:80", "gid:1:udp:65536"]
)
def test_portacl_wrong(rule):
    """A malformed rule is named, and nothing is written."""
    ctl.failed(3, "import", "portacl", f"uid:1:tcp:80,{rule}", "--apply", words=["rule 2", rule])


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


def test_names_are_no_users_of_a_list():
    """An imported list that grants to everyone is told what opens a port."""
    path = support.scratch_dir() / "list"
    path.write_text("80:everyone\n")
    done = ctl.pybindctl("import", "daemonusr", path)
    name = "lists._add_daemonusr: sudo pybindctl grant everyone PORT"
    command = printed.said(done.stderr, name).replace("PORT", "80")
    printed.type_as_root(command.replace("grant", "grant --yes"))
    assert ctl.served("80")


def test_list_without_authbind():
    """After a list of daemonusr the next step is the start, by pybind."""
    path = support.scratch_dir() / "list"
    path.write_text("25:nobody\n")
    out = ctl.done("import", "daemonusr", path, "--apply")
    command = printed.said(out, "import_._next_steps: pybind --port 25 -- PROGRAM")
    assert pybind(*command.replace("PROGRAM", "true").split()[1:]).returncode == 0
