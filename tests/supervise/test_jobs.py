# SPDX-License-Identifier: GPL-3.0-or-later
"""Job control: a shell and a terminal see a supervised program like any other.

The program is an agent, the foreground job of src/jobshell.py on a terminal of its own. Each
test also runs without pybind, which shows the right behaviour.
"""

import contextlib
import os
import pathlib
import select
import signal
import socket
import subprocess
import termios

import launching
import pytest
import supervising
import support
from supervising import Agent, end, parent, under_pybind

pytestmark = pytest.mark.usefixtures("grant80")

INT, QUIT, TSTP = int(signal.SIGINT), int(signal.SIGQUIT), int(signal.SIGTSTP)
CONT, TTIN, URG = int(signal.SIGCONT), int(signal.SIGTTIN), int(signal.SIGURG)
CTRL_C, CTRL_Z, CTRL_BACKSLASH = b"\x03", b"\x1a", b"\x1c"


class Job(Agent):
    """The agent behind the terminal's master (owned), and the shell's channel (owned)."""

    def __init__(self, master, channel):
        super().__init__(master, master)
        self._channel = channel

    def key(self, key):
        """Press a key."""
        os.write(self.to_fd, key)

    def shell(self, command):
        """Give the shell a command."""
        self._channel.sendall(command.encode() + b"\n")
        assert self.event() == command

    def event(self):
        """Return the next thing that the shell reports."""
        line = bytearray()
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._channel], [], [], support.PATIENCE_S)
            assert ready, f"the shell reports nothing more than {bytes(line)}"
            got = self._channel.recv(1)
            assert got, "the shell has ended"
            line += got
        return line[:-1].decode()

    def has_event(self):
        """Tell whether the shell has something to report."""
        return bool(select.select([self._channel], [], [], 0)[0])

    def close(self):
        """Close the terminal and the channel."""
        super().close()
        self._channel.close()


@contextlib.contextmanager
def on_terminal(argv):
    """Run argv, an agent, as a shell's foreground job on a terminal without echo; yield the Job."""
    master, slave = os.openpty()
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ECHO
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    ours, theirs = socket.socketpair()
    folder = support.scratch_dir()
    script = launching.copy_source("jobshell.py", folder)
    with open(folder / "log", "wb") as log:
        shell = support.as_user(
            ["/usr/bin/python3", script, theirs.fileno(), *argv],
            stdin=slave,
            stdout=slave,
            stderr=log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    os.close(slave)
    theirs.close()
    job = Job(master, ours)
    try:
        assert job.event() == "started"
        yield job
    except AssertionError as error:
        text = pathlib.Path(folder / "log").read_text(errors="replace")
        raise AssertionError(f"{error}\nsaid on stderr: {text}") from error
    finally:
        job.close()  # hangs up the terminal
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(support.PATIENCE_S)
        end(shell)


@pytest.fixture(params=["plain", "supervised"])
def argv(request, agent):
    """Return the argv of the agent, once without pybind and once with it."""
    if request.param == "plain":
        return ["/usr/bin/env", agent]
    return under_pybind(agent)


def settled(job):
    """Wait until earlier signals must have arrived: later ones have, on both ways."""
    group = job.ask("pid")[2]  # the PID of the started process
    for number in (QUIT, URG):
        job.ask(f"catch {number}")
        before = job.ask(f"count {number}")
        if number == QUIT:
            job.key(CTRL_BACKSLASH)
        else:
            os.kill(group, number)
        job.wait_count(number, before + 1)


def test_terminal_is_usable(argv):
    """The program reads the terminal and writes to it, in the foreground group."""
    with on_terminal(argv) as job:
        pid, _, group, _ = job.ask("pid")
        assert job.ask("bind tcp 127.90.0.1 8080") == 0
        status = supervising.status_of(pid)
        assert status["Name"] == "agent"
        assert job.ask("pid")[2] == group
        job.tell("exit 3")
        assert job.event() == "exited 3"


@pytest.mark.hostile("R19")
def test_ctrl_c_arrives_once(argv):
    """Ctrl-C reaches a program that counts SIGINT exactly once, each time."""
    with on_terminal(argv) as job:
        job.ask(f"catch {INT}")
        for times in (1, 2, 3):
            job.key(CTRL_C)
            job.wait_count(INT, times)
            settled(job)
            assert job.ask(f"count {INT}") == times
        assert not job.has_event()


@pytest.mark.parametrize(("key", "number"), [(CTRL_C, INT), (CTRL_BACKSLASH, QUIT)])
def test_keys_end_the_program(argv, key, number):
    """Ctrl-C and Ctrl-backslash end the program, and the shell sees the signal."""
    with on_terminal(argv) as job:
        job.ask("pid")
        job.key(key)
        assert job.event() == f"killed {number}"


def test_ctrl_z_and_fg(argv):
    """Ctrl-Z stops the job and fg continues it, any number of times."""
    with on_terminal(argv) as job:
        program = job.pid()
        for _ in range(3):
            job.key(CTRL_Z)
            assert job.event() == f"stopped {TSTP}"
            assert supervising.is_stopped(program)
            job.shell("fg")
            assert job.event() == "continued"
            assert job.pid() == program
        job.ask(f"catch {INT}")
        job.key(CTRL_C)
        job.wait_count(INT)


def test_bg_and_a_read_from_the_terminal(argv):
    """In the background the job stops as soon as it reads the terminal (SIGTTIN)."""
    with on_terminal(argv) as job:
        job.pid()
        job.key(CTRL_Z)
        assert job.event() == f"stopped {TSTP}"
        job.shell("bg")
        event = job.event()
        # Of two changes that nobody has waited for, the kernel keeps only the last.
        assert (job.event() if event == "continued" else event) == f"stopped {TTIN}"
        job.shell("fg")
        assert job.event() == "continued"
        assert job.pid()


def test_program_that_catches_ctrl_z(argv):
    """A program that handles SIGTSTP itself goes on, and the shell sees no stop."""
    with on_terminal(argv) as job:
        job.ask(f"catch {TSTP}")
        job.key(CTRL_Z)
        job.wait_count(TSTP)
        settled(job)
        assert job.ask(f"count {TSTP}") == 1
        assert not job.has_event()


def test_program_that_stops_itself(argv):
    """A program that stops itself, as editors do, is seen stopped by the shell."""
    with on_terminal(argv) as job:
        job.tell(f"raise {int(signal.SIGSTOP)}")
        assert job.event() == f"stopped {int(signal.SIGSTOP)}"
        job.shell("fg")
        assert job.event() == "continued"
        assert job.hear() == 0
        assert job.pid()


def test_fg_continues_once(argv):
    """A program that counts SIGCONT gets one SIGCONT for each fg."""
    with on_terminal(argv) as job:
        job.ask(f"catch {CONT}")
        job.key(CTRL_Z)
        assert job.event() == f"stopped {TSTP}"
        job.shell("fg")
        assert job.event() == "continued"
        job.wait_count(CONT)
        settled(job)
        assert job.ask(f"count {CONT}") == 1


def test_terminal_that_hangs_up(argv):
    """When the terminal hangs up, SIGHUP ends the program and no process is left."""
    with on_terminal(argv) as job:
        assert job.pid()


def test_binds_after_a_stop(agent):
    """A stopped and continued job can still bind; its supervisor was not stopped."""
    with on_terminal(under_pybind(agent)) as job:
        program = job.pid()
        supervisor = parent(program)
        job.key(CTRL_Z)
        assert job.event() == f"stopped {TSTP}"
        assert not supervising.is_stopped(supervisor)
        job.shell("fg")
        assert job.event() == "continued"
        assert job.ask("bind tcp 127.90.0.1 80") == 0
