# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, folders and names that users make cannot make pybindctl act for these users."""

import json
import os
import pathlib
import shutil
import subprocess

import ctl
import pytest
import support
from support import CONFIG, UID, rules

from pybind import repairs, trust
from pybind.admin import output
from pybind.admin.importers import rehearsal
from pybind.permissions import folders
from pybind.permissions.access import from_mode, write_access

SECRET = "root:$6$salt$hash"


@pytest.fixture
def users():
    """Return a folder of a user's, which root gives to pybindctl."""
    folder = support.scratch_dir()
    os.chown(folder, UID, UID)
    return folder


@pytest.fixture
def secret():
    """Return a file that only root may read."""
    path = support.SCRATCH / "secret"
    path.write_text(SECRET + "\n# and a comment\n10.0.0.1,80\n")
    path.chmod(0o600)
    return path


def authbinds(folder):
    """Make authbind's folders below a folder."""
    for name in ("byport", "byaddr", "byuid"):
        (folder / name).mkdir(parents=True, mode=0o755)
    return folder


def test_the_name_of_a_folder_is_no_rule(users):
    """A folder's name in a comment of a rule file gives no rule, even if it has a newline."""
    folder = authbinds(users / "a\nany,1-1023 #")
    (folder / f"byuid/{UID}").write_text("10.0.0.1,80\n")
    ctl.done("import", "authbind", folder, "--apply")
    assert ctl.pybindctl("check", "10.0.0.1:80", "--user", UID).returncode == 0
    assert ctl.pybindctl("check", "81", "--user", UID).returncode == 1
    assert [line for line in ctl.lines(f"byuser/{UID}") if line[0] != "#"] == ["10.0.0.1,80"]


@pytest.mark.parametrize("apply", [[], ["--apply"]])
def test_what_only_root_may_read_is_copied_nowhere(users, secret, apply):
    """Of a secret file that a user's link leads to, only rules are imported, and no other text.

    Everybody can read the rule files, and the copy in which a plan is tried.
    """
    folder = authbinds(users / "authbind")
    (folder / f"byuid/{UID}").symlink_to(secret)
    answer = ctl.pybindctl("import", "authbind", folder, *apply)
    assert SECRET not in answer.stdout + answer.stderr
    assert "its rules alone are taken" in answer.stdout
    assert "is not root's alone" in answer.stdout
    changes = ctl.as_json("import", "authbind", folder)["changes"]
    assert SECRET not in json.dumps(changes)
    assert "comment" not in json.dumps(changes)
    if apply:
        assert ctl.lines(f"byuser/{UID}")[1:] == ["10.0.0.1,80"]


def test_a_comment_that_everybody_may_read_is_kept(secret):
    """Comments of a file that only root can write and all can read are kept."""
    folder = authbinds(support.SCRATCH / "roots")
    (folder / f"byuid/{UID}").write_text("# mine\n10.0.0.1,80 # too\n")
    assert "not root's alone" not in ctl.done("import", "authbind", folder, "--apply")
    assert ctl.lines(f"byuser/{UID}")[1] == "# mine"
    shutil.rmtree(folder)


def test_a_file_that_becomes_a_link_is_not_followed(monkeypatch, secret):
    """A link that replaces a file of byuser, while root copies it for a trial, is not followed."""
    (CONFIG / "byuser").chmod(0o777)
    path = rules(f"byuser/{UID}", "any,80", uid=UID)

    class Swapping:
        def __getattr__(self, name):
            return getattr(os, name)

        def look(self, call, *args):
            status = call(*args)
            if status.st_uid == UID and not path.is_symlink():
                path.unlink()
                path.symlink_to(secret)
                os.chown(path, UID, UID, follow_symlinks=False)
            return status

        def lstat(self, *args):
            return self.look(os.lstat, *args)

        def fstat(self, *args):
            return self.look(os.fstat, *args)

    monkeypatch.setattr(rehearsal, "os", Swapping())
    with rehearsal.copy([]) as root:
        assert path.is_symlink()
        copied = pathlib.Path(f"{root}{path}")
        assert copied.is_symlink() or SECRET not in copied.read_text()


def test_a_link_in_place_of_a_flag_file_is_not_followed(secret):
    """If a link replaces a flag file between two looks, the target of the link is not changed."""
    link = CONFIG / "byport/80"
    link.symlink_to(secret)
    before = secret.stat()
    with pytest.raises(OSError, match="no longer a regular file"):
        write_access(str(link), from_mode(0o750), from_mode(0o755))
    assert secret.stat() == before


BREAKING = {
    "lists": "grant = " + "[" * 100_000,
    "digits": "a = 1" + "0" * 5000,
    "user": "[[grant]]\nuser = 0x1" + "0" * 5000 + '\nports = ["80"]',
    "port": '[[grant]]\nuser = "root"\nports = [-0x1' + "0" * 5000 + "]",
}


@pytest.mark.parametrize("content", BREAKING.values(), ids=BREAKING)
def test_toml_that_breaks_readers(content):
    """Deeply nested lists and numbers too long for Python get a clear error."""
    ctl.failed(3, "apply", "-", input=content, words=["pybindctl: -: "])


def test_files_without_an_end(users):
    """A file larger than the memory is refused, not read; pybindctl does not wait for a FIFO."""
    ctl.failed(3, "apply", "/dev/zero", words=["larger than 256 MiB"])
    ctl.failed(3, "import", "daemonusr", "/dev/zero", words=["larger than 256 MiB"])
    folder = authbinds(users / "authbind")
    with open(folder / f"byuid/{UID}", "wb") as file:
        file.truncate(1 << 40)
    answer = ctl.pybindctl("import", "authbind", folder)
    assert "File too large" in answer.stdout
    os.mkfifo(users / "rules")
    ctl.failed(2, "lint", users / "rules", words=["is no regular file"])
    piped = ["sh", "-c", f"echo any,x | {ctl.PYBINDCTL} lint /dev/stdin"]
    assert subprocess.run(piped, capture_output=True, check=False).returncode == 3


def test_the_name_of_a_file_speaks_to_no_terminal(users):
    """The name of a file from the command line, by a shell's *, sends nothing to the terminal."""
    name = users / "\x1b]0;owned\x07\n\x9b31m"
    name.write_text("any,80\nany,8o\n")
    process = subprocess.run([ctl.PYBINDCTL, "lint", name], capture_output=True, check=False)
    assert process.returncode == 3
    text = process.stdout + process.stderr
    assert not [char for char in text.decode() if not char.isprintable() and char != "\n"]
    assert b"repair: give the file another name first" in process.stdout
    (finding,) = ctl.as_json("lint", name, status=3)["findings"]
    assert str(name) in finding["repair"]


def test_only_our_colours_reach_the_terminal(capsys, monkeypatch):
    """Every printing function removes all control characters but those of paint()."""
    monkeypatch.setattr(output, "coloured", lambda _=None: True)
    hostile = "\x1b]52;c;cm0=\x07\x9b2J\x1b[8m\r\u202e\udcff"
    shown = output.paint("held", output.WARNING)
    for use in (output.say, output.say_prose, lambda text: output.print_lines([text])):
        use(f"{shown} {hostile}")
        out = capsys.readouterr().out
        assert shown in out
        rest = out.replace(shown, "").removesuffix("\n")
        assert rest.isprintable(), repr(rest)
    output.print_table(["WHO"], iter([[hostile]]))
    assert "\x9b" not in capsys.readouterr().out


def test_a_kept_descriptor_writes_no_rule():
    """After the repair of a writable rule file, a descriptor kept on it changes no rule."""
    path = rules(f"byuser/{UID}", "any,80", uid=UID)
    with open(path, "a") as kept:
        trouble = ctl.as_json("lint", status=3)["findings"][0]
        support.type_repair("repair: " + trouble["repair"])
        assert ctl.pybindctl("check", "80", "--user", UID).returncode == 0
        kept.write("any,1-1023\n")
    assert ctl.lines(f"byuser/{UID}") == ["any,80"]
    assert path.stat().st_uid == 0


def test_a_link_through_a_users_folder_is_not_roots(users):
    """A link to a file of root's is not root's if it leads through a user's folder."""
    (users / "roots").mkdir(mode=0o755)
    (users / "roots/rules").write_text("any,80\n")
    assert trust.changeable(str(users / "roots/rules")) == str(users)
    link = CONFIG / f"byuser/{UID}"
    link.symlink_to(users / "roots/rules")
    assert trust.changeable(str(link)) == str(users)
    assert repairs.rules_file(str(link), link.lstat()) == repairs.put_aside(str(link))
    (CONFIG / "byaddr").rmdir()
    (CONFIG / "byaddr").symlink_to(users / "roots")
    (trouble,) = folders.broken()
    assert "cp -a" not in trouble.repair


def test_what_is_roots_alone():
    """Links, dots and sticky folders are followed as by the kernel."""
    folder = support.SCRATCH / "walk"
    (folder / "in").mkdir(parents=True)
    (folder / "in/file").touch()
    (folder / "link").symlink_to("in/../in/./file")
    (folder / "loop").symlink_to("loop")
    (folder / "sticky").mkdir()
    (folder / "sticky").chmod(0o1777)
    (folder / "sticky/file").touch()
    for name in ("in/file", "link", "sticky/file"):
        assert trust.changeable(f"{folder}/{name}") is None
    assert trust.changeable(f"{folder}/sticky") == f"{folder}/sticky"  # others can add to it
    assert trust.changeable(f"{folder}/sticky/../in/.") is None
    os.chown(folder / "sticky/file", UID, UID)
    assert trust.changeable(f"{folder}/sticky/file") == f"{folder}/sticky/file"
    (folder / "in/file").chmod(0o1666)  # on a file the sticky bit has no effect
    assert trust.changeable(f"{folder}/link") == f"{folder}/in/file"
    (folder / "in").chmod(0o775)
    assert trust.changeable(f"{folder}/link") == f"{folder}/in"
    with pytest.raises(OSError, match="Too many levels"):
        trust.changeable(f"{folder}/loop")
    shutil.rmtree(folder)


def test_a_printed_name_is_one_word():
    """A proposed command quotes a group's name with a blank."""
    groups = CONFIG.parent / "group"
    before = groups.read_text()
    groups.write_text(before + "odd $(id); name:x:4321:\n")
    try:
        process = ctl.pybindctl("grant", "@odd $(id); name", "[::]:80/tcp")
        assert process.returncode == 1
        support.type_repair(process.stderr.partition("repair")[2])
        assert ctl.lines("bygroup/4321") == ["::,80/tcp", "0.0.0.0,80/tcp"]
    finally:
        groups.write_text(before)


def test_a_comment_is_one_line_of_a_difference():
    """A comment with a Unicode line end does not look like a rule in a difference."""
    rules(f"byuser/{UID}", "any,22 # a\x85any,80\u2028any,81")
    (change,) = ctl.as_json("revoke", UID, "22")["changes"]
    assert len(change["before"]) == 1
