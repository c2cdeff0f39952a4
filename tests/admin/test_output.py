# SPDX-License-Identifier: GPL-3.0-or-later
"""What pybindctl says, and where: its help, sentences on a terminal, and its status whatever the streams are.

Help is whole sentences that fit 80 columns. On a terminal sentences are wrapped at its width,
and commands never. The exit status is that of the answer, whatever standard output is.
"""

import fcntl
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import termios

import click
import ctl
import pytest
import support
from ctl import PYBINDCTL, done, failed
from support import CONFIG, OTHER_UID, PATIENCE_S, UID, flag, rules

from pybind.admin import cli


def _words(prefix, command):
    yield prefix
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from _words([*prefix, name], command.get_command(click.Context(command), name))


COMMANDS = list(_words([], cli._group))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help(words):
    """Every command has both, and no sentence of the list of commands is cut."""
    environment = {**os.environ, "COLUMNS": "80"}
    short = done(*words, "-h", env=environment)
    assert short == done(*words, "--help", env=environment)
    lines = short.splitlines()
    assert lines[0].startswith(" ".join(["Usage: pybindctl", *words]))
    assert all(len(line) <= 80 for line in lines)
    assert "<=" not in short
    assert ">=" not in short
    below = lines[lines.index("Commands:") + 1 :] if "Commands:" in lines else []
    assert all(line.endswith(".") and not line.endswith("...") for line in below)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["grant", "--no-such"], "pybindctl grant"),
        (["grant"], "pybindctl grant"),
        (["import", "authbind", "--no-such"], "pybindctl import authbind"),
        (["import", "no-such"], "pybindctl import"),
        (["no-such"], "pybindctl"),
        (["--no-such"], "pybindctl"),
    ],
)
def test_an_error_names_the_help_of_its_command(arguments, named):
    """What was typed wrongly stands in the help that is named."""
    said = failed(2, *arguments)
    assert said.splitlines()[-1] == f"pybindctl: see: {named} --help"
    done(*named.split()[1:], "--help")


@pytest.mark.parametrize(
    "arguments",
    [
        ["grant", "--yes", "nobody", "80", "443/tcp"],
        ["revoke", "nobody", "80"],
        ["check", "--user", "root", "[::1]:80"],
        ["import", "authbind", "/etc/no such folder", "--apply"],
        ["setup"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_who_is_not_root_is_told_the_whole_command(arguments):
    """What an ordinary user typed stands there with sudo before it, and an administrator types it."""
    if arguments[0] == "revoke":
        done("grant", "nobody", "80")
    if arguments[0] == "import":
        folder = pathlib.Path(arguments[2])
        folder.mkdir()
        (folder / "byport").mkdir()
    try:
        refused = support.run([PYBINDCTL, *arguments])
        assert refused.returncode == 4, refused.stderr
        said = refused.stderr.splitlines()[-1]
        assert said.startswith("pybindctl: as an administrator: sudo pybindctl ")
        support.type_repair(said)
    finally:
        if arguments[0] == "import":
            shutil.rmtree(folder)
    if arguments[0] == "grant":
        assert "443" in done("list")


def test_words_that_cannot_be_typed_are_not_repeated():
    """A line break in an argument does not reach the terminal as one."""
    refused = support.run([PYBINDCTL, "grant", "a\nb", "80"])
    assert refused.returncode == 4
    assert refused.stderr.endswith(": as an administrator: the same with sudo before it\n")


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


FULL, CLOSED, NO_READER = ">/dev/full", ">&-", "no reader"


def run(how, *arguments, stdin=""):
    """Run pybindctl with this standard output; return its status and standard error."""
    words = " ".join(f"'{word}'" for word in (ctl.PYBINDCTL, *map(str, arguments)))
    # bash waits for the reader to end; the first write then has nobody to take it
    script = f"{words} {how}"
    if how == NO_READER:
        script = f"exec 3> >(exec true); wait $!; {words} >&3"
    process = subprocess.run(
        ["bash", "-c", script], input=stdin, capture_output=True, text=True, check=False,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert "Traceback" not in process.stderr, process.stderr
    assert "Exception" not in process.stderr, process.stderr
    return process.returncode, process.stderr


@pytest.mark.parametrize("how", [FULL, CLOSED, NO_READER])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["check", "80", "--user", UID], 0),
        (["check", "80", "--user", OTHER_UID], 1),
        (["explain", "80", "--user", UID], 0),
        (["explain", "80", "--user", OTHER_UID], 1),
        (["lint"], 0),
        (["check", "nonsense"], 2),
        (["grant", UID, "81"], 0),
        (["revoke", UID, "81"], 0),
        (["apply", "-"], 0),
        (["apply", "-", "--check"], 1),
        (["import", "portacl", f"uid:{UID}:tcp:25"], 0),
        (["import", "portacl", f"uid:{UID}:tcp:25", "--apply"], 0),
    ],
)
def test_status_is_the_answers(how, arguments, status):
    """A command whose status is the answer keeps its status, and does its work."""
    flag("byport/80")
    text = f'[[grant]]\nuser = {UID}\nports = ["82"]\n'
    found, err = run(how, *arguments, stdin=text)
    assert found == status, err
    assert ("standard output: No space left" in err) == (how == FULL and status != 2)
    if "grant" in arguments or "--apply" in arguments:
        assert ctl.lines(f"byuser/{UID}") == ["any,81" if "grant" in arguments else "any,25/tcp"]


@pytest.mark.parametrize("arguments", [["export"], ["list"], ["status"], ["lint", "--json"]])
def test_output_that_is_the_answer(arguments):
    """A full disk makes export fail; a closed output or a reader that left does not."""
    rules(f"byuser/{UID}", "any,80")
    status, err = run(FULL, *arguments)
    assert status == 1
    assert "standard output: No space left" in err
    for how in (CLOSED, NO_READER):
        assert run(how, *arguments) == (0, "")


def test_standard_error_too():
    """The status tells the error even if nobody reads standard error."""
    process = subprocess.run(
        ["bash", "-c", f"{ctl.PYBINDCTL} check nonsense 2>/dev/full >/dev/full"], check=False
    )
    assert process.returncode == 2


def test_closed_descriptors_are_no_files_of_ours():
    """With stdin, stdout and stderr closed, no output gets into a file that was opened."""
    rules(f"byuser/{UID}", "any,80")
    command = f"{ctl.PYBINDCTL} grant {UID} 81 <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0
    assert ctl.lines(f"byuser/{UID}") == ["any,80", "any,81"]


@pytest.mark.hostile(71)
@pytest.mark.parametrize("command", [("grant", UID, "80"), ("revoke", UID, "22"), ("status",)])
def test_full_standard_output(command):
    """The status is that of the answer even if the output cannot be written."""
    rules(f"byuser/{UID}", "any,22")
    for target in ("/dev/full", None):
        script = 'exec "$@" >&-' if target is None else f'exec "$@" >{target}'
        process = subprocess.run(
            ["sh", "-c", script, "sh", ctl.PYBINDCTL, *map(str, command)],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.returncode in ((0, 1) if command == ("status",) else (0,)), process.stderr
        assert "Traceback" not in process.stderr
    assert os.path.exists(CONFIG)
