# SPDX-License-Identifier: GPL-3.0-or-later
"""A program finds its process as if pybind had never run.

src/world.c sets up a process: signals, descriptors, limits and more. Then it reports
them. Its two reports, without pybind and with it, may differ only in LD_PRELOAD
and PYBIND_*.
"""

import contextlib
import itertools
import os
import signal
import subprocess

import launching
import pytest
import support

pytestmark = pytest.mark.usefixtures("grant80")

OURS = ("environ LD_PRELOAD=", "environ PYBIND_")
PATH = b"PATH=/usr/bin:/bin"


@pytest.fixture(scope="module")
def world():
    """Return the program that reports its process."""
    return launching.build("world.c")


@pytest.fixture(scope="module")
def launch(world):
    """Return what sets up its process and executes another program."""
    return [world, "launch"]


def words(*parts):
    """Return the parts as strings, decoded so that their bytes are kept."""
    return [os.fsdecode(part) for part in parts]


def reports(launch, world, *changes, args=(), name=None):
    """Return the program's reports without pybind and with it, as lists of lines.

    The PIDs differ; each must be that of the started process.
    """
    both = []
    for wrap in (list, lambda argv: launching.under_pybind(*argv)):
        folder = support.scratch_dir()
        # A relative name, so that the argument is the same both times.
        program = [name or os.fspath(world), "report", "report", *words(*args)]
        command = [*launch, *words(*changes), "--", *wrap(program)]
        process = support.as_user(command, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            assert process.wait(support.PATIENCE_S) == 0, f"{command}: {process.returncode}"
        finally:
            process.kill()
        text = (folder / "report").read_text(encoding="ascii")
        text = text.replace(f"Tgid:\t{process.pid}\n", "own pid\n")
        assert "own pid\n" in text
        both.append(text.replace(os.fspath(folder), "FOLDER").splitlines())
    return both


def same(launch, world, *changes, **options):
    """Assert that both reports are the same; return the one without pybind."""
    without, with_pybind = reports(launch, world, *changes, **options)
    added = [line for line in with_pybind if line.startswith(OURS)]
    assert any(support.LIBRARY in line for line in added), added
    assert [line for line in with_pybind if not line.startswith(OURS)] == [
        line for line in without if not line.startswith(OURS)
    ]
    return without


def test_ordinary_world(launch, world):
    """Ids, privileges, limits, folder, descriptors, signals: the same."""
    lines = same(launch, world, args=["-x", "--port", "81", "--"])
    assert "CapPrm:\t0000000000000000" in lines


@pytest.mark.parametrize("sigxfsz", ["-i", "-d"])
@pytest.mark.parametrize("sigpipe", ["-i", "-d"])
def test_sigpipe_and_sigxfsz(launch, world, sigpipe, sigxfsz):
    """SIGPIPE and SIGXFSZ, which CPython ignores, are as the caller left them."""
    changes = [sigpipe, str(int(signal.SIGPIPE)), sigxfsz, str(int(signal.SIGXFSZ))]
    lines = same(launch, world, *changes)
    for number, choice in ((13, sigpipe), (25, sigxfsz)):
        state = {"-i": "ignored", "-d": "default"}[choice]
        assert any(line.startswith(f"signal {number} {state}") for line in lines)


def test_other_signals(launch, world):
    """Ignored, blocked and pending signals and a running alarm pass through."""
    ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM, signal.SIGRTMAX)
    blocked = (signal.SIGUSR1, signal.SIGQUIT, signal.SIGALRM, signal.SIGRTMIN + 3)
    changes = [word for sig in ignored for word in ("-i", str(int(sig)))]
    changes += [word for sig in blocked for word in ("-b", str(int(sig)))]
    lines = same(launch, world, *changes, "-r", str(int(signal.SIGUSR1)), "-a", "600")
    assert "timer armed" in lines


def test_everything_blocked(launch, world):
    """A caller that blocks every signal finds its program with all blocked."""
    same(launch, world, *[word for sig in range(1, 65) for word in ("-b", str(sig))])


CLOSED = [some for count in range(4) for some in itertools.combinations("012", count)]


@pytest.mark.parametrize("closed", CLOSED, ids=lambda some: "".join(some) or "none")
def test_closed_standard_descriptors(launch, world, closed):
    """Whichever of 0, 1 and 2 are closed stay closed, and nothing takes their numbers."""
    lines = same(launch, world, *[word for fd in closed for word in ("-c", fd)])
    for fd in closed:
        assert not any(line.startswith(f"fd {fd} ") for line in lines)


@pytest.mark.parametrize("changes", [["-D", "0"], ["-D", "0", "-c", "1"], ["-c", "2", "-D", "0"]])
def test_directory_as_stdin(launch, world, changes):
    """A directory as stdin, with which CPython refuses to start, arrives as it is."""
    assert any(
        line.startswith("fd 0 ") and line.endswith(" /usr")
        for line in same(launch, world, *changes)
    )


@pytest.mark.parametrize("fd", ["1", "2"])
def test_directory_as_output(launch, world, fd):
    """A directory in the place of an output arrives as it is."""
    assert any(
        line.startswith(f"fd {fd} ") and line.endswith(" /usr")
        for line in same(launch, world, "-D", fd)
    )


def test_more_descriptors(launch, world):
    """Descriptors above 2, at 10 too, are passed on and none is added."""
    lines = same(launch, world, "-n", "3", "-n", "10", "-D", "11", "-n", "200", "-D", "0")
    assert sum(line.startswith("fd ") for line in lines) == 7


LOCALES = [[], [b"LC_ALL=C"], [b"LC_ALL=POSIX"], [b"LC_ALL=C.UTF-8"], [b"LC_CTYPE=C"]]
LOCALES += [[b"LC_ALL=de_DE.ISO-8859-1"], [b"LANG=\xff"]]


@pytest.mark.parametrize("locale", LOCALES, ids=lambda some: repr(b" ".join(some)))
def test_argument_and_environment_bytes_in_any_locale(launch, world, locale):
    """Arguments and environment entries of any bytes arrive as they are."""
    args = [b"", b"\xff\xfe", "\u00e9\u4e2d".encode(), b"\xed\xb2\x80", b"a b\n", b"\\", b"--", b""]
    entries = [PATH, *locale, b"BYTES=\xff\xfe\x80", "UTF8=\u00e9".encode(), b"EMPTY="]
    changes = [word for entry in entries for word in (b"-e", entry)]
    lines = same(launch, world, *changes, args=args)
    assert sum(line.startswith("environ ") for line in lines) == len(entries)
    assert "argv \\xff\\xfe" in lines


def test_odd_environment_entries(launch, world):
    """Duplicates, entries without '=' and without a name, order: all kept."""
    entries = [PATH, b"DUP=1", b"NOEQUALS", b"DUP=2", b"=weird", b"PYTHONHOME=/nonexistent"]
    entries += [b"PYTHONPATH=/nonexistent", b"PYTHONWARNINGS=error", b"", b"DUP=1", b"\xff"]
    lines = same(launch, world, *[word for entry in entries for word in (b"-e", entry)])
    assert lines.count("environ DUP=1") == 2


@pytest.mark.parametrize("entries", [[b"-"], [b"DUP=1", b"DUP=2"]], ids=["empty", "duplicates"])
def test_small_environment(launch, world, entries):
    """An empty environment, and one with duplicates only, gain nothing but ours."""
    same(launch, world, *[word for entry in entries for word in (b"-e", entry)])


def test_long_arguments(launch, world):
    """Arguments near the kernel's limit for one string pass through."""
    same(launch, world, args=[b"x" * 120000, *[b"y" * 1000] * 200])


def test_name_found_on_the_path(launch, world):
    """argv[0] is what was typed, and PATH decides as it does for a shell."""
    path = b"PATH=/nonexistent:" + os.fsencode(world.parent) + b":/usr/bin:/bin"
    lines = same(launch, world, b"-e", path, name="world")
    assert "argv world" in lines


@pytest.mark.parametrize(
    "script", ["exit 0", "exit 3", "exit 255", "kill -TERM $$", "kill -SEGV $$", "kill -KILL $$"]
)
def test_exit_status(script):
    """The caller sees the program's own wait status."""
    command = ["/bin/sh", "-c", script]
    results = [support.run(argv) for argv in (command, launching.under_pybind(*command))]
    assert results[0].returncode == results[1].returncode
    assert results[1].stdout + results[1].stderr == ""


def test_pid_is_the_one_started():
    """The program has the PID of the process that was started as pybind."""
    argv = launching.under_pybind("/bin/sh", "-c", "echo $$")
    process = support.as_user(argv, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=support.PATIENCE_S)
    assert out == f"{process.pid}\n"


def test_stdin_is_left_unread():
    """Not a byte of what comes in on stdin is taken by pybind."""
    data = "line one\n" + "x" * 200000
    result = support.run(launching.under_pybind("/bin/cat"), input=data)
    assert (result.returncode, result.stdout) == (0, data)


def read_terminal(master, until):
    """Return the output on a terminal up to and including `until`."""
    os.set_blocking(master, False)
    seen = bytearray()

    def complete():
        with contextlib.suppress(BlockingIOError):
            seen.extend(os.read(master, 4096))
        return until in seen

    support.wait_for(complete, f"{until} on the terminal")
    return seen.decode().replace("\r", "")


def on_terminal(launch, argv):
    """Run argv on its own terminal; return its report and its wait status."""
    master, slave = os.openpty()
    process = support.as_user(
        [*launch, "-t", "0", "--", *argv],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    try:
        text = read_terminal(master, b"ready").replace(os.ttyname(slave), "TERMINAL")
        os.write(master, b"\x03")
        return text.replace(f"pid {process.pid}\n", "own pid\n"), process.wait(support.PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)


@pytest.mark.hostile("R19")
def test_terminal(launch, world):
    """The terminal, its foreground group and settings are the program's; Ctrl-C ends it."""
    program = [world, "terminal"]
    text, status = on_terminal(launch, launching.under_pybind(*program))
    assert (text, status) == on_terminal(launch, program)
    assert text.startswith("own pid\ntty TERMINAL 111\nforeground 1 leader 1\n")
    assert status == -signal.SIGINT
