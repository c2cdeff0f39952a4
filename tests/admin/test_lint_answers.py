# SPDX-License-Identifier: GPL-3.0-or-later
"""What lint reports, and to whom: about all files, or about files that are given by name."""

import os
import subprocess

import printed
import pytest
import support
from ctl import PYBINDCTL, pybindctl
from linting import ENVIRON, ME, MINE, lint
from support import CONFIG, GID, UID, flag, rules

BIG = "# more than 1 MiB"


def test_half_of_the_wildcard():
    """lint warns about a line for :: unless 0.0.0.0 is granted by any file or group."""
    rules(ME, "::,80", "0.0.0.0,80")
    assert lint() == {}
    rules(ME, "::,80")
    rules(f"bygroup/{GID}", "0.0.0.0/0,80")
    assert lint() == {}
    rules(f"bygroup/{GID}", "0.0.0.0/0,81")
    assert set(lint()) == {("half", ME, 1)}


def test_hidden_files_are_left_alone():
    """lint ignores hidden files, such as those of etckeeper and git."""
    (CONFIG / ".git").mkdir()
    (CONFIG / ".gitignore").touch()
    assert lint() == {}


def test_in_a_user_namespace():
    """In a user namespace, where root's files seem to be nobody's, no repair is a chown."""
    if support.run(["/usr/bin/unshare", "-Ur", "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    rules(ME, "any,80")
    for command in (["lint"], ["check", "80"], ["list"]):
        done = support.run(["/usr/bin/unshare", "-Ur", PYBINDCTL, *command])
        assert done.returncode in (1, 3), (command, done.stdout)
        assert "user namespace" in done.stdout + done.stderr
        assert "chown" not in done.stdout + done.stderr


def test_clean():
    """lint finds nothing in the files of pybindctl and of the examples in pybind(5)."""
    flag("byport/80", gid=33)
    rules(ME, "any,80-90 # the web", "192.0.2.53,53/udp", "any,1-1023", "::/0,443")
    rules(MINE, "any,631/tcp")
    rules("bygroup/33", "192.0.2.0/24,80-89/tcp", mode=0o640, gid=33)
    assert lint() == {}
    process = pybindctl("lint")
    assert (process.returncode, process.stdout) == (0, "nothing to repair in 4 files\n")


def test_shadowed():
    """lint names a file that is never reached, but not one that others overrule in part."""
    flag("byport/80")
    flag("byport/443,tcp")
    flag("byaddr/127.0.0.1:25")
    flag("byaddr/127.0.0.1,80")
    flag("byaddr/127.0.0.1,25")
    flag("byaddr/0:0:0:0:0:0:0:1,443,tcp")
    rules(ME, "any,80", "any,443", "any,443/tcp", "127.0.0.1,25", "127.0.0.0/8,25", "any,80-81")
    found = lint()
    assert set(found) == {
        ("shadowed", "byaddr/127.0.0.1,80", None),
        ("shadowed", "byaddr/127.0.0.1,25", None),
        ("shadowed", "byaddr/0:0:0:0:0:0:0:1,443,tcp", None),
        ("shadowed", ME, 1),
        ("shadowed", ME, 3),
        ("shadowed", ME, 4),
    }
    assert "/etc/pybind/byport/80 decides before it" in found["shadowed", ME, 1]["text"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        ("any,80\n# comment\n", 0, "nothing to repair in 1 file"),
        ("", 0, "nothing to repair"),
        ("any,80\nany,8o", 3, "line 2: not of the form"),
        ("any,8080", 0, "line 1: ports from 1024 on are not privileged"),
        ("any,631\nany,80", 0, "nothing to repair"),
        (BIG, 3, "larger than 1 MiB"),
    ],
)
def test_validate(content, status, words):
    """lint of a file anywhere judges only the lines, whatever its name and owner."""
    content = content.replace(BIG, "\n" * ((1 << 20) + 1))
    path = support.scratch_dir() / "source.tmp"
    path.write_text(content)
    os.chown(path, UID, GID)
    path.chmod(0o666)
    process = pybindctl("lint", path)
    assert (process.returncode, process.stderr) == (status, "")
    assert words in process.stdout
    piped = pybindctl("lint", "/dev/stdin", input=content)
    assert piped.returncode == status
    assert support.run([PYBINDCTL, "lint", path]).returncode == status


def test_strict_and_folders_of_others():
    """With --strict a warning changes the status; another folder's names are judged as here."""
    folder = support.scratch_dir() / "bygroup"
    folder.mkdir()
    (folder / "!33").write_text("any,631\nany,80\n")
    (folder / "33").write_text("any,80\n")
    process = pybindctl("lint", folder / "!33", folder / "33")
    assert process.returncode == 0
    assert "1 warning in 2 files" in process.stdout
    assert "line 2: never matches" in process.stdout
    assert pybindctl("lint", "--strict", folder / "!33").returncode == 1
    assert pybindctl("lint", "--strict", folder / "33").returncode == 0


def test_wrong_files():
    """A file that cannot be read is a clear error."""
    for path in ("/no/such", "/tmp", f"{CONFIG}/byuser/77"):
        process = pybindctl("lint", path)
        assert process.returncode == 2
        assert process.stdout == ""
        assert process.stderr.startswith(f"pybindctl: {path}: ")


def test_ordinary_user():
    """An ordinary user is told which files lint could not look at."""
    rules(ME, "any,80")
    rules("byuser/1", "any,80", mode=0o640)
    process = support.run([PYBINDCTL, "lint"])
    assert process.returncode == 0
    assert "byuser/1: could not be looked at" in process.stdout
    said = printed.typed(
        process.stdout, "rule_files.of_rule_file: sudo pybindctl lint", status=3, env=ENVIRON
    )
    assert "byuser/1: cannot be read by whom it is for" in said
    (CONFIG / "byuser").chmod(0o700)
    process = support.run([PYBINDCTL, "lint"])
    assert process.returncode == 3
    assert "not every user can search it (mode 0700" in process.stdout


def test_names_cannot_speak_to_the_terminal():
    """Control bytes in a file's name are escaped, in tables too."""
    (CONFIG / "byuser" / "\x1b[2J\n80").touch()
    os.close(os.open(os.fsencode(CONFIG) + b"/byport/\xff", os.O_CREAT))
    process = pybindctl("lint")
    assert "\x1b" not in process.stdout
    assert r"\x1b[2J\n80" in process.stdout
    assert r"byport/\xff" in process.stdout
    assert len(lint()) == 2


def test_many_files_on_a_terminal():
    """With many files a progress bar is shown, only if standard error is a terminal."""
    for number in range(600):
        rules(f"byuser/{20000 + number}", "any,80")
    assert pybindctl("lint").stderr == ""
    shown = subprocess.run(
        ["script", "-qec", f"{PYBINDCTL} lint", "/dev/null"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env={"TERM": "xterm"},
    )  # fmt: skip
    assert "reading" in shown.stdout
    assert "600 warnings" in shown.stdout


def test_what_only_root_can_read():
    """Where a folder cannot be listed the command that can is said."""
    rules(ME, "any,80")
    (CONFIG / "byuser").chmod(0o711)
    process = support.run([PYBINDCTL, "lint"])
    assert process.returncode == 1
    said = printed.typed(process.stderr, "lint.everything: sudo pybindctl lint", env=ENVIRON)
    assert said == "nothing to repair in 1 file\n"
