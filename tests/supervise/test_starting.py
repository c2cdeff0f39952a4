# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of the supervised mode: what -v says of it, and what can happen meanwhile.

Without -v nothing is printed. Signals can come while the processes are being made, and
limits can leave them no room.
"""

import os
import pathlib
import pty
import signal
import subprocess
import time

import launching
import pytest
import supervising
import support
from supervising import started, under_pybind

pytestmark = pytest.mark.usefixtures("grant80")

TRIES = 15  # a signal is sent as soon as the front blocks signals; where it meets it differs
SLEEP = under_pybind("/bin/sleep", "999", mode="supervise", ports=())
BINDS = """
import os, socket, sys
def tried(port):
    with socket.socket() as sock:
        try:
            sock.bind(("127.90.0.1", port))
        except OSError as error:
            return error.errno
    return 0
os.write(1, b"0\\n")
while sys.stdin.readline():
    os.write(1, b"%d %d %d\\n" % (tried(80), tried(81), tried(8080)))
"""


def said(argv):
    """Run a program that ends at once; return the messages of pybind."""
    result = support.run(argv)
    assert (result.returncode, result.stdout) == (0, "")
    return result.stderr


@pytest.fixture(scope="module")
def go_program():
    """Return a Go program that reads no stdin, such as Debian's go."""
    return launching.need(launching.GO, "golang-go")


@pytest.mark.hostile("R17")
def test_auto_prints_nothing(agent, dynamic_agent):
    """Neither mode prints anything, even if a bind is refused."""
    for program in (agent, dynamic_agent):
        with started(under_pybind(program)) as (front, talk):
            assert talk.ask("bind tcp 127.90.0.1 80") == 0
            assert talk.ask("bind tcp 127.90.0.1 81") == 13
            assert front.said() == ""
        assert said(under_pybind(program)) == ""


def test_verbose_names_the_way(agent, dynamic_agent):
    """-v says that a supervisor serves a static program, and why."""
    words = said(under_pybind(agent, options=["-v"]))
    assert "supervisor" in words
    assert "statically linked" in words
    words = said(under_pybind(dynamic_agent, options=["-v"]))
    assert "preload library" in words
    assert "supervisor" not in words
    words = said(under_pybind(dynamic_agent, mode="supervise", options=["-v"]))
    assert "supervisor" in words
    assert "--mode" in words


def test_verbose_names_go(go_program):
    """-v says that a program is a Go program."""
    result = support.run(under_pybind(go_program, "version", options=["-v"]))
    assert result.returncode == 0
    assert "supervisor" in result.stderr
    assert "Go" in result.stderr


def test_verbose_tells_of_each_bind(agent):
    """-v prints a line about each bind of a privileged port."""
    with started(under_pybind(agent, options=["-v"])) as (front, talk):
        assert talk.ask("bind tcp 127.90.0.1 80") == 0
        assert talk.ask("bind tcp 127.90.0.1 8080") == 0
        (support.CONFIG / "byport" / "80").unlink()
        assert talk.ask("bind tcp 127.90.0.2 80") == 13
        support.wait_for(lambda: "no permission" in front.said(), "a word about the refusal")
        words = front.said()
    assert "bind of port 80/tcp (IPv4): granted" in words
    assert (
        f"no permission file grants it; to grant it: sudo pybindctl grant {support.UID} 80/tcp"
        in words
    )
    assert "8080" not in words
    assert all(line.startswith("pybind: ") for line in words.splitlines())


def test_preload_of_a_static_program_points_here(agent):
    """--mode preload starts a static program, and names the mode that would serve it."""
    result = support.run(under_pybind(agent, mode="preload"))
    assert result.returncode == 0
    assert "note: " in result.stderr
    assert "--mode supervise" in result.stderr


def wait_blocked(pid):
    """Wait until a process blocks signals, as a front does from its first step on.

    While a C library starts a process it blocks all, its own (32, 33) too. A front that waits
    for signals is shown as one that blocks none: then the moment was missed.
    """
    deadline = time.monotonic() + support.PATIENCE_S
    while time.monotonic() < deadline:  # without a pause: it is a matter of milliseconds
        blocked = int(supervising.status_of(pid)["SigBlk"], 16)
        if blocked >> signal.SIGTERM - 1 & 1 and not blocked >> 32 - 1 & 1:
            return
        if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"pybind: front"):
            return
    raise AssertionError("gave up waiting for the front to block signals")


def test_ctrl_c_while_starting():
    """A key that is pressed before the program is there ends it all the same."""
    for _ in range(TRIES):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir("/")
            argv = [*supervising.DROP, *SLEEP]
            os.execv(argv[0], argv)
        try:
            wait_blocked(pid)
            os.write(terminal, b"\x03")
            _, status = os.waitpid(pid, 0)
        finally:
            os.close(terminal)
        assert os.WIFSIGNALED(status), status
        assert os.WTERMSIG(status) == signal.SIGINT


def test_term_from_outside_of_a_container_while_starting():
    """docker stop, whose signal has no sender inside (its pid is 0), is not lost."""
    script = '"$@"; exit $?'  # so that pybind is not the first process
    for _ in range(TRIES):
        shell = supervising.in_container("/bin/sh", "-c", script, "sh", *SLEEP)
        try:
            outer = supervising.only_child(shell.pid)
            front = supervising.only_child(outer)
            wait_blocked(front)
            os.kill(front, signal.SIGTERM)
            assert shell.wait(support.PATIENCE_S) == 128 + signal.SIGTERM
        finally:
            shell.kill()
            shell.wait()


def test_program_that_signals_its_group_at_once(agent):
    """What the program sends to its group in its first moment comes once, as without pybind."""
    for _ in range(TRIES):
        process = support.as_user(under_pybind(agent, "at-once"), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
        with process.stdin as stdin, process.stdout as stdout:
            assert stdout.readline() == b"sent\n"
            # Later signals on the same way have arrived: the front is done with the first.
            os.kill(process.pid, signal.SIGURG)
            support.wait_for(lambda pid=process.pid: not pending(pid), "the front to take them")
            stdin.close()
            assert stdout.read() == b"1\n"
        assert process.wait(support.PATIENCE_S) == 0


def pending(pid):
    """Tell whether signals wait for a process."""
    return int(supervising.status_of(pid)["ShdPnd"], 16) != 0


@pytest.mark.parametrize("words", [[], ["-v"]])
def test_file_size_limit(words):
    """RLIMIT_FSIZE 0 is no hindrance: nothing that counts is written to a file."""
    argv = under_pybind("/bin/true", mode="supervise", options=words)
    done = support.run(["/usr/bin/prlimit", "--fsize=0:0", *argv])
    assert done.returncode == 0, done.stderr


def within(kind, limit, program):
    """Run a program that binds under a limit in KiB; returns whether it was started.

    Fails where it was started and its binds were not all answered rightly.
    """
    argv = ["/usr/bin/prlimit", f"--{kind}={limit << 10}", *under_pybind(program, options=["-q"])]
    with started(argv) as (process, talk):
        try:
            talk.ask("pid")
        except (AssertionError, BrokenPipeError):
            was_started = False
        else:
            was_started = True
            for _ in range(30):
                assert talk.ask("bind tcp 127.90.0.1 80") == 0, (kind, limit)
                assert talk.ask("bind tcp 127.90.0.1 81") == 13, (kind, limit)
    # 1: Python itself has no room, and says so; pybind was never there.
    assert process.returncode in ((0,) if was_started else (125, 1)), (kind, limit)
    return was_started


@pytest.mark.parametrize("kind", ["data", "as"])
def test_memory_limit(agent, kind):
    """Whoever starts under a limit of memory has enough to serve: no tree ends of it later."""
    low, high = 2 << 10, 256 << 10
    while high - low > 64:
        middle = (low + high) // 2
        low, high = (low, middle) if within(kind, middle, agent) else (middle, high)
    for limit in range(high - 256, high + 256, 64):
        within(kind, limit, agent)


@pytest.mark.parametrize("processes", [1, 2])
def test_no_process_left(marked, processes):
    """Where the limit of processes leaves no supervisor, the limit is named."""
    path, was_started = marked
    # Of a user who has no other process.
    limited = ["/usr/bin/prlimit", f"--nproc={processes}:{processes}", "--"]
    argv = under_pybind(path, mode="supervise", ports=())
    drop = [word.replace(str(support.UID), "12398") for word in supervising.DROP]
    done = subprocess.run([*limited, *drop, *argv], capture_output=True, text=True, cwd="/",
                          timeout=support.PATIENCE_S)  # fmt: skip
    assert done.returncode == 125
    assert "cannot start the supervisor" in done.stderr
    assert "ulimit -u" in done.stderr
    assert not was_started()


@pytest.mark.parametrize("call", range(1, 7))
def test_interrupted_calls(call):
    """An ioctl(2) of the supervisor's that ends with EINTR refuses no bind and ends no tree."""
    strace = launching.need("strace", "strace")
    argv = under_pybind("/usr/bin/python3", "-c", BINDS, mode="supervise")
    with started(argv) as (process, talk):
        assert talk.hear() == 0
        program = supervising.only_child(supervising.only_child(process.pid))
        supervisor = supervising.parent(program)
        log = support.scratch_dir() / "log"
        options = ["-o", log, "-e", "trace=ioctl", "-e", f"inject=ioctl:error=EINTR:when={call}"]
        tracer = subprocess.Popen([strace, *options, "-p", str(supervisor)],
                                  stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            support.wait_for(
                lambda: supervising.status_of(supervisor)["TracerPid"] != "0", "the tracer"
            )
            assert [talk.ask("go") for _ in range(3)] == [[0, 13, 0]] * 3
            support.wait_for(lambda: "(INJECTED)" in log.read_text(), "the fault")
        finally:
            tracer.terminate()
            tracer.wait()
