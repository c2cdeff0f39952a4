# SPDX-License-Identifier: GPL-3.0-or-later
"""On a terminal sentences are wrapped at its width, and commands never."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import ctl
import pytest
import support
from support import UID, rules

folders = pytest.fixture(ctl.authbind_folders)
COLUMNS = 80
COMMAND = re.compile(r"[:?] ((?:sudo|pybindctl|pybind|grep) .*)$", re.M)


def _import_two_notes():
    ctl.old_flag("byport/80", uid=UID, mode=0o500)
    path = ctl.AUTHBIND / "byuid" / str(UID)
    path.write_text("0.0.0.0/0:1,1023\n10.0.0.0/8,80 foo\n")
    path.chmod(0o644)


def _two_broken_files():
    rules(f"byuser/{UID}", "any,80", mode=0o666)
    rules("byuser/4711", "any,1024-70000,80 and more than that")


CASES = {
    "grant": (None, ["grant", UID, "80", "443/tcp", "192.0.2.0/24:8000-8010/tcp"]),
    "note": (None, ["grant", UID, "8000-8010"]),
    "warning": (None, ["grant", UID, "600", "127.0.0.1:80/udp"]),
    "revoke": (lambda: rules(f"byuser/{UID}", "any,1-99"), ["revoke", UID, "7", "9", "12/tcp", "21"]),
    "import": (_import_two_notes, ["import", "authbind"]),
    "lint": (_two_broken_files, ["lint"]),
    "list": (_two_broken_files, ["list"]),
    "refused": (_two_broken_files, ["grant", UID, "80"]),
    "explain": (_two_broken_files, ["explain", "--user", UID, "80"]),
    "usage": (None, ["grant", UID, "80-70000000000000000000000000000000000000000000000000000000000-1"]),
    "doctor": (lambda: os.chmod("/etc/pybind", 0o777), ["doctor"]),
}  # fmt: skip


def on_terminal(*args, term="dumb"):
    """Run pybindctl as root on a terminal of 80 columns; return what it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environ = {**os.environ, "TERM": term}
    for name in ("COLUMNS", "NO_COLOR"):
        environ.pop(name, None)
    shown = b""
    with subprocess.Popen(
        [ctl.PYBINDCTL, *map(str, args)], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=environ,
    ) as process:  # fmt: skip
        os.close(theirs)
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # EIO: nobody holds the other end
                break
            shown += read
        process.wait(support.PATIENCE_S)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _is_whole(line, plain):
    """Tell whether a long line is one that must not be wrapped."""
    return bool(COMMAND.search(line)) or (line in plain.splitlines() and line.startswith("  + "))


@pytest.mark.parametrize("case", CASES)
def test_sentences_fit_and_commands_stay_whole(case, folders):  # made for import
    """The words are those of a pipe; a line longer than the terminal is only a command's."""
    prepare, args = CASES[case]
    if prepare:
        prepare()
    shown = on_terminal(*args)
    if args[0] in ("grant", "revoke"):
        ctl.pybindctl("revoke", UID)
        if prepare:
            prepare()
    process = ctl.pybindctl(*args)
    plain = process.stdout + process.stderr
    assert sorted(shown.split()) == sorted(plain.split())
    commands = COMMAND.findall(plain)
    assert sorted(COMMAND.findall(shown)) == sorted(commands)
    assert any(len(line) > COLUMNS for line in plain.splitlines()), plain
    for line in shown.splitlines():
        assert len(line) <= COLUMNS or _is_whole(line, plain), line


def test_a_process_of_a_programs_name():
    """What begins with the name of a process is no command: only the end of the note stays whole."""
    rules(f"byuser/{UID}", "any,1-99")
    hold = "import socket as s; f = s.socket(); f.bind(('', 80)); f.listen(); print(1, flush=True); input()"
    argv = [support.PYBIND, "--", "/usr/bin/python3", "-c", hold]
    with support.as_user(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        shown = on_terminal("revoke", UID, "80/tcp").splitlines()
        process.stdin.close()
    assert shown[1:] == [
        f"note: python3 ({process.pid}) of nobody still holds 80/tcp; to close the port:",
        f"  sudo kill {process.pid}",
    ]


def test_colours_have_no_width():
    """The same lines come with colours, and only the first word has one."""
    _two_broken_files()
    coloured = on_terminal("lint", term="xterm")
    assert "\x1b[31mbroken\x1b[0m: /etc/pybind" in coloured
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == on_terminal("lint")
