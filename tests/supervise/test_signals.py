# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals to the front reach the program; front and supervisor can be killed."""

import contextlib
import os
import signal
import subprocess

import pytest
import supervising
import support
from supervising import Fifos, parent, started, under_pybind, wait_gone

pytestmark = pytest.mark.usefixtures("grant80")

EACCES, ENOSYS = 13, 38
FORWARDED = [
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGTSTP,
    signal.SIGWINCH,
    signal.SIGRTMIN + 1,
    signal.SIGRTMAX,
]


@contextlib.contextmanager
def family(agent, mode="supervise"):
    """Run a shell's two agents under pybind; yield (front, supervisor, program, child).

    The first agent is the program, the second agent its child.
    """
    folder = support.scratch_dir()
    script = f"{agent} <child.in >child.out & exec {agent} <program.in >program.out"
    program, child = Fifos(folder, "program"), Fifos(folder, "child")
    argv = under_pybind("/bin/sh", "-c", script, mode=mode)
    front = support.as_user(argv, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        supervisor = parent(program.pid())
        assert child.pid() != program.pid()
        yield front, supervisor, program, child
    finally:
        program.close()
        child.close()
        supervising.end(front)


@pytest.mark.parametrize("number", FORWARDED, ids=str)
def test_signals_are_forwarded(agent, number):
    """A signal to the front reaches the program once."""
    with started(under_pybind(agent)) as (front, talk):
        talk.ask(f"catch {int(number)}")
        talk.ask(f"catch {int(signal.SIGURG)}")
        os.kill(front.pid, number)
        talk.wait_count(number)
        os.kill(front.pid, signal.SIGURG)  # when this later signal arrives, no other can follow
        talk.wait_count(signal.SIGURG)
        assert talk.ask(f"count {int(number)}") == 1
        assert talk.ask("bind tcp 127.90.0.1 80") == 0


def test_term_ends_the_program(agent):
    """kill -TERM of the front ends program and front by this signal."""
    with started(under_pybind(agent)) as (front, talk):
        pid, supervisor, *_ = talk.ask("pid")
        os.kill(front.pid, signal.SIGTERM)
        assert front.wait(support.PATIENCE_S) == -signal.SIGTERM
        wait_gone(pid, supervisor)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_signal_that_comes_too_late(agent, number):
    """A signal to a front whose program has just ended changes nothing."""
    with started(under_pybind(agent)) as (front, talk):
        pid, supervisor, *_ = talk.ask("pid")
        os.kill(front.pid, signal.SIGSTOP)
        support.wait_for(lambda: supervising.is_stopped(front.pid), "the front to stop")
        os.kill(pid, signal.SIGKILL)
        support.wait_for(
            lambda: supervising.status_of(supervisor)["State"].startswith("Z"), "the supervisor"
        )
        os.kill(front.pid, number)
        os.kill(front.pid, signal.SIGCONT)
        assert front.wait(support.PATIENCE_S) == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whole_group_signalled(agent, number):
    """A signal to the whole process group, as of `kill %1` or systemd, ends all processes."""
    for _ in range(10):
        with started(under_pybind(agent), start_new_session=True) as (front, talk):
            pid, supervisor, *_ = talk.ask("pid")
            os.killpg(front.pid, number)
            assert front.wait(support.PATIENCE_S) == -number
            wait_gone(pid, supervisor)


def test_nohup(agent):
    """A signal that the caller ignores does not end the program or the front."""
    argv = under_pybind(agent)
    with started(["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *argv]) as (front, talk):
        assert talk.pid()
        os.kill(front.pid, signal.SIGHUP)
        talk.ask(f"catch {int(signal.SIGUSR1)}")
        os.kill(front.pid, signal.SIGUSR1)
        talk.wait_count(signal.SIGUSR1)
        assert talk.ask("bind tcp 127.90.0.1 80") == 0


def test_stop_and_continue_by_kill(agent):
    """kill -TSTP of the front stops program and front; kill -CONT continues both."""
    # A new process group, because the kernel does not stop an orphaned one. The group of the
    # tests is orphaned under setsid(1), nohup(1) or a CI runner (setpgid(2), POSIX 11.1.4).
    with started(under_pybind(agent), preexec_fn=os.setpgrp) as (front, talk):
        program = talk.pid()
        os.kill(front.pid, signal.SIGTSTP)
        _, status = os.waitpid(front.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert os.WSTOPSIG(status) == signal.SIGTSTP
        assert supervising.is_stopped(program)
        os.kill(front.pid, signal.SIGCONT)
        _, status = os.waitpid(front.pid, os.WCONTINUED)
        assert os.WIFCONTINUED(status)
        assert talk.ask("bind tcp 127.90.0.1 80") == 0


def test_alarm_of_the_caller():
    """An alarm(2) set before pybind was executed ends the program as without pybind."""
    launch = supervising.need_launch()
    argv = under_pybind("/bin/sleep", "99", mode="supervise")
    result = support.run([*launch, "-a", "1", "--", *argv])
    assert result.returncode == -signal.SIGALRM


def test_front_killed(agent):
    """kill -9 of the front kills the program, but its children go on and can bind."""
    with family(agent) as (front, supervisor, program, child):
        pid = program.pid()
        front.kill()
        assert front.wait(support.PATIENCE_S) == -signal.SIGKILL
        wait_gone(pid)
        assert parent(child.pid()) == supervisor
        assert child.ask("bind tcp 127.90.0.1 80") == 0
        assert child.ask("bind tcp 127.90.0.1 81") == EACCES
    wait_gone(supervisor)


@pytest.mark.hostile("R4")
def test_supervisor_killed(agent):
    """kill -9 of the supervisor kills the program; its children can bind no more."""
    with family(agent) as (front, supervisor, program, child):
        pid = program.pid()
        os.kill(supervisor, signal.SIGKILL)
        assert front.wait(support.PATIENCE_S) == -signal.SIGKILL
        wait_gone(pid, supervisor)
        assert child.ask("bind tcp 127.90.0.1 80") == ENOSYS
        assert child.ask("bind tcp 127.90.0.1 8080") == ENOSYS


@pytest.mark.hostile("R4")
def test_supervisor_killed_while_a_bind_waits(agent):
    """A pending bind fails if the supervisor is killed, so no process hangs."""
    with family(agent) as (front, supervisor, _, child):
        os.kill(supervisor, signal.SIGSTOP)
        pid = child.ask("binder 127.90.0.1 80")
        support.wait_for(lambda: supervising.in_bind(pid), "a bind to wait")
        os.kill(supervisor, signal.SIGKILL)
        assert front.wait(support.PATIENCE_S) == -signal.SIGKILL
        assert os.WEXITSTATUS(child.ask(f"reap {pid}")) == ENOSYS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_supervisor_survives_other_signals(agent, number):
    """Other signals do not end the supervisor, so that a whole group can end orderly."""
    with family(agent) as (front, supervisor, program, child):
        os.kill(supervisor, number)
        for talk in (program, child):
            assert talk.ask("bind tcp 127.90.0.1 80") == 0
        assert supervising.status_of(supervisor)
        assert front.poll() is None


def test_supervisor_is_out_of_the_terminals_reach(agent):
    """The supervisor is in no process group that a shell or terminal signals."""
    with started(under_pybind(agent), start_new_session=True) as (front, talk):
        _, supervisor, group, session = talk.ask("pid")
        assert (group, session) == (front.pid, front.pid)
        assert os.getsid(supervisor) != session
        assert os.getpgid(supervisor) != group
