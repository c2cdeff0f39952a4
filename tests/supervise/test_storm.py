# SPDX-License-Identifier: GPL-3.0-or-later
"""Many binds at once, binds under signals, and programs that die during a bind."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import launching
import pytest
import supervising
import support
from supervising import started, under_pybind

pytestmark = pytest.mark.usefixtures("grant80")

PROCESSES, THREADS, ROUNDS = 20, 50, 4
STORM_TIMEOUT_S = 180
GATE = """#!/bin/sh
# In the helper's place: says that it was started, waits to be let on, becomes the helper.
echo $$ >>{folder}/started
while [ ! -e {folder}/open ]; do sleep 0.02; done
exec {real}
"""


def modes(name):
    """Build src/NAME statically and dynamically; return {how: (program, mode)}."""
    return {
        "static": (launching.build(name, "-static"), "auto"),
        "dynamic": (launching.build(name), "supervise"),
    }


@pytest.fixture(scope="module")
def storm():
    """Return src/storm.c, built statically and dynamically."""
    return modes("storm.c")


@pytest.fixture(scope="module")
def disturbed():
    """Return src/disturbed.c, built statically and dynamically."""
    return modes("disturbed.c")


@contextlib.contextmanager
def slow_helper():
    """Put a gate before the helper; yield (started(), open()), and remove the gate afterwards."""
    folder = support.scratch_dir()
    helper = pathlib.Path(support.HELPER)
    real, gate = (helper.with_name(f"pybind-helper.{word}") for word in ("gated", "gate"))
    if not real.exists():  # never removed: a late gate executes this file after the test
        os.link(helper, real)  # a copy would have no capability
    gate.write_text(GATE.format(folder=folder, real=real))
    gate.chmod(0o755)
    gate.rename(helper)

    def count():
        with contextlib.suppress(FileNotFoundError):
            return len((folder / "started").read_text().split())
        return 0

    def restore():
        if not os.path.samefile(helper, real):
            os.link(real, gate)
            gate.rename(helper)
        (folder / "open").touch()

    try:
        yield count, restore
    finally:
        restore()


@contextlib.contextmanager
def halted(pid):
    """Stop a process, so that binds stay pending; continue it at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        support.wait_for(lambda: supervising.is_stopped(pid), "the supervisor to stop")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def inventory(supervisor):
    """Return a supervisor's open descriptors and children."""
    return len(os.listdir(f"/proc/{supervisor}/fd")), len(supervising.children(supervisor))


def inventory_at_rest(supervisor):
    """Return the inventory of a supervisor that waits for its first bind.

    Earlier, the supervisor may still have the descriptors of the start.
    """
    wchan = pathlib.Path(f"/proc/{supervisor}/wchan")
    support.wait_for(lambda: "poll" in wchan.read_text(), "the supervisor to wait")
    return inventory(supervisor)


@pytest.mark.parametrize("linked", ["static", "dynamic"])
@pytest.mark.hostile("R5")
def test_thousand_threads(storm, linked):
    """1,000 threads of 20 processes bind at once, and every bind gets the right answer.

    The binds are granted, refused, unprivileged, local, busy and malformed ones. Afterwards
    the supervisor has no more descriptors and children than before.
    """
    program, mode = storm[linked]
    argv = under_pybind(program, PROCESSES, THREADS, ROUNDS, mode=mode)
    process = support.as_user(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        (program_pid,) = (
            pid for pid, what in supervising.processes().items() if what[0] == "storm"
        )
        supervisor = supervising.parent(program_pid)
        before = inventory_at_rest(supervisor)
        process.stdin.write(b"x")
        process.stdin.flush()
        supervising.wait_line(process.stdout, STORM_TIMEOUT_S)
        result = process.stdout.readline().decode()
        support.wait_for(lambda: inventory(supervisor) == before, f"{before} in the supervisor")
        out, err = process.communicate(timeout=support.PATIENCE_S)
    finally:
        process.kill()
        process.wait(support.PATIENCE_S)
    found = re.fullmatch(r"answers (\d+) wrong 0 failed 0\n", result)
    assert found, result + err.decode()
    # A bind gives one or two answers, a malformed round six and a busy round five.
    assert int(found[1]) > PROCESSES * THREADS * ROUNDS * 2
    assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize("linked", ["static", "dynamic"])
@pytest.mark.hostile(58)
def test_interval_timer(disturbed, linked):
    """A timer that interrupts every 3 ms (SA_RESTART) breaks none of 1,000 binds."""
    program, mode = disturbed[linked]
    result = support.run(under_pybind(program, "interrupted", 1000, mode=mode), timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "bound 1000\n", "")


@pytest.mark.parametrize("linked", ["static", "dynamic"])
def test_killed_in_the_middle(disturbed, linked):
    """200 children are killed while they bind, and their addresses become free again."""
    program, mode = disturbed[linked]
    result = support.run(under_pybind(program, "killed", 200, mode=mode), timeout=180)
    assert (result.returncode, result.stdout, result.stderr) == (0, "killed 200\n", "")


@pytest.mark.hostile(60, "R6")
def test_killed_while_the_supervisor_is_late(agent):
    """Children that are killed before the supervisor looks at their bind leave no trace."""
    with started(under_pybind(agent)) as (_, talk):
        supervisor = supervising.parent(talk.pid())
        before = inventory_at_rest(supervisor)
        with halted(supervisor):
            pids = [talk.ask(f"binder 127.90.0.{last} 80") for last in range(1, 21)]
            for pid in pids:
                support.wait_for(lambda pid=pid: supervising.in_bind(pid), "a bind to wait")
            for pid in pids[::2]:
                os.kill(pid, signal.SIGKILL)
                assert talk.ask(f"reap {pid}") == signal.SIGKILL
        assert [talk.ask(f"reap {pid}") for pid in pids[1::2]] == [0] * 10
        assert [talk.ask(f"bind tcp 127.90.0.{last} 80") for last in range(1, 21)] == [0] * 20
        support.wait_for(lambda: inventory(supervisor) == before, f"{before} in the supervisor")


@pytest.mark.hostile(60)
def test_killed_while_the_helper_works(agent):
    """A program killed while the helper has its socket dies at once, and the port is free."""
    with started(under_pybind(agent)) as (_, talk):
        supervisor = supervising.parent(talk.pid())
        before = inventory_at_rest(supervisor)
        with slow_helper() as (helpers, let_on):
            pid = talk.ask("binder 127.90.0.1 80")
            support.wait_for(lambda: helpers() == 1, "the helper to start")
            os.kill(pid, signal.SIGKILL)
            assert talk.ask(f"reap {pid}") == signal.SIGKILL
            let_on()
        support.wait_for(lambda: inventory(supervisor) == before, f"{before} in the supervisor")
        assert supervising.can_listen("127.90.0.1")
        assert talk.ask("bind tcp 127.90.0.1 80") == 0


@pytest.mark.hostile("R16")
def test_one_slow_helper_delays_nobody_else(agent):
    """While one helper is slow, other binds get their answers."""
    with started(under_pybind(agent)) as (_, talk):
        assert talk.pid()  # the agent has started, so no helper of the start is left
        with slow_helper() as (helpers, let_on):
            pid = talk.ask("binder 127.90.0.1 80")
            support.wait_for(lambda: helpers() == 1, "the helper to start")
            assert talk.ask("bind tcp 127.90.0.2 8080") == 0
            assert talk.ask("unix") == 0
            assert talk.ask("bind tcp 127.90.0.2 81") == 13
            second = talk.ask("binder 127.90.0.3 80")
            support.wait_for(lambda: helpers() == 2, "a second helper to start")
            assert supervising.in_bind(pid)
            let_on()
            assert [talk.ask(f"reap {pid}"), talk.ask(f"reap {second}")] == [0, 0]


def test_whole_tree_killed_while_binds_wait(agent):
    """If a whole tree is killed with pending binds, the front ends too and no process stays."""
    with started(under_pybind(agent)) as (process, talk):
        program = talk.pid()
        supervisor = supervising.parent(program)
        with slow_helper() as (helpers, let_on):
            pids = [talk.ask(f"binder 127.90.0.{last} 80") for last in range(1, 6)]
            support.wait_for(lambda: helpers() == 5, "the helpers to start")
            for pid in (program, *pids):
                os.kill(pid, signal.SIGKILL)
            assert process.wait(support.PATIENCE_S) == -signal.SIGKILL
            let_on()
        supervising.wait_gone(supervisor, *pids)
        assert all(supervising.can_listen(f"127.90.0.{last}") for last in range(1, 6))


@pytest.mark.parametrize("how", ["leaderless", "unshared", "vfork"])
@pytest.mark.hostile(60)
def test_descriptor_table_of_the_calling_thread(disturbed, how):
    """The calling thread's socket is bound, whatever its leader's descriptors or state."""
    program, _ = disturbed["static"]
    result = support.run(under_pybind(program, how))
    assert (result.returncode, result.stdout, result.stderr) == (0, "bound\n", "")


@pytest.mark.parametrize("port", [80, 8080])
@pytest.mark.hostile(57)
def test_address_rewritten_meanwhile(disturbed, port):
    """Case 57: a thread that rewrites the address gets no ungranted port."""
    program, _ = disturbed["static"]
    result = support.run(under_pybind(program, "rewritten", port, 3000), timeout=120)
    assert result.returncode == 0, result.stderr
    allowed, forbidden, refused = map(int, re.findall(r"\d+", result.stdout))
    assert forbidden == 0
    assert allowed > 0 < refused
    assert allowed + refused == 3000
