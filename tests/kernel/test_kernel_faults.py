# SPDX-License-Identifier: GPL-3.0-or-later
"""Each bpf(2) call of pybindd fails once, and pybindd is killed at each call.

Whatever fails, nothing is granted that the files do not grant. As long as pybindd says
that the files are in force, their grants work. PYBIND_FAULTS_ALL=1 tries every call,
otherwise every fourth call is tried.
"""

import os
import signal

import cgroups
import pytest
import running
import support
from running import worker
from support import CONFIG, flag, rules, wait_for

from pybind import pybindd as client

ALL = "PYBIND_FAULTS_ALL" in os.environ
ERRORS = ("ENOMEM", "EPERM")
STEP = 1 if ALL else 4
LAST_CALL = 400  # far behind the last call


def _traced(what, log):
    return ["strace", "-D", "-f", "-qq", "-e", "trace=bpf", "-o", log, "-e", f"inject=bpf:{what}"]


def _start(cgroup, what):
    """Start a pybindd whose calls get this fault; return pybindd and the log of its calls."""
    log = support.scratch_dir() / "calls"
    return running.Pybindd(cgroup, *_traced(what, log), ready=False), log


def _calls(log):
    return log.read_text().count("bpf(")


@pytest.fixture(scope="module")
def calls_of_start():
    """Count the calls until pybindd is ready."""
    support.clear_config()
    _files()
    with cgroups.group() as cgroup:
        daemon, log = _start(cgroup, f"error=ENOMEM:when={LAST_CALL}")
        try:
            daemon.wait_ready()
            count = _calls(log)
        finally:
            daemon.stop()
    assert count > 30
    return count


def _files():
    flag("byport/80")
    rules(f"byuser/{support.UID}", "127.0.0.1,82")


def _settled(daemon):
    """Wait until pybindd has ended, or says that the files are in force."""

    def done():
        if daemon.process.poll() is not None:
            return True
        said = client.status()
        return bool(said and said["in_force"] and said["table"] and daemon.is_ready())

    wait_for(done, "pybindd to end or to be ready")


def _check(daemon, user):
    """Compare verdicts with pybindd's own status."""
    assert "Traceback" not in daemon.log
    assert not user.may("127.0.0.1", 81)
    if daemon.process.poll() is None:
        wait_for(user.may, "the grant")
        assert user.may("127.0.0.1", 82)
        (CONFIG / "byport/80").unlink()
        daemon.sync()
        assert not user.may()
        flag("byport/80")
    else:
        assert daemon.process.returncode in (1, 3)
        assert daemon.log.startswith("pybindd: ")
        wait_for(lambda: not user.may(), "the programs to be gone")


@pytest.mark.parametrize("error", ERRORS)
def test_each_call_fails(calls_of_start, error):
    """If one call of the start fails, pybindd ends with a message or recovers."""
    _files()
    with cgroups.group() as cgroup, worker(cgroup) as user:
        for number in range(1, calls_of_start + 1, STEP):
            daemon, _ = _start(cgroup, f"error={error}:when={number}")
            try:
                _settled(daemon)
                _check(daemon, user)
            finally:
                daemon.stop()


def test_killed_at_each_call(calls_of_start):
    """After SIGKILL at one call of the start nothing is granted."""
    _files()
    with cgroups.group() as cgroup, worker(cgroup) as user:
        for number in range(1, calls_of_start + 1, STEP):
            daemon, _ = _start(cgroup, f"signal=KILL:when={number}")
            try:
                assert daemon.process.wait(support.PATIENCE_S) == -signal.SIGKILL
                wait_for(lambda: not user.may(), "the programs to be gone")
            finally:
                daemon.stop()


@pytest.mark.parametrize("offset", range(1, 13))
def test_a_call_of_a_change_fails(calls_of_start, offset):
    """If one call of a later table fails, nothing is granted until a new try succeeds."""
    _files()
    with cgroups.group() as cgroup, worker(cgroup) as user:
        daemon, log = _start(cgroup, f"error=ENOMEM:when={calls_of_start + offset}")
        try:
            daemon.wait_ready()
            wait_for(user.may, "the grant")
            while "INJECTED" not in log.read_text():
                (CONFIG / "byport/80").unlink()
                said = client.sync()
                assert not user.may()
                assert said["in_force"] or "Cannot allocate memory" in said["why_not"]
                flag("byport/80")
                said = client.sync()
                assert user.may() or not said["in_force"]
            wait_for(user.may, "the table to be tried again")
            assert not user.may("127.0.0.1", 81)
            assert "nothing is granted: " in daemon.log
        finally:
            daemon.stop()


@pytest.mark.parametrize("offset", range(1, 13))
def test_killed_in_a_change(calls_of_start, offset):
    """After SIGKILL at one call of a later table nothing is granted."""
    _files()
    with cgroups.group() as cgroup, worker(cgroup) as user:
        daemon, _ = _start(cgroup, f"signal=KILL:when={calls_of_start + offset}")
        try:
            daemon.wait_ready()
            wait_for(user.may, "the grant")
            while daemon.process.poll() is None:
                (CONFIG / "byport/80").chmod(0o700)
                (CONFIG / "byport/80").chmod(0o750)
            wait_for(lambda: not user.may(), "the programs to be gone")
            assert client.status() is None
        finally:
            daemon.stop()
