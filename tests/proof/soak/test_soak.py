# SPDX-License-Identifier: GPL-3.0-or-later
"""Many binds from many processes: nothing leaks, no answer is wrong.

PYBIND_SOAK_PRELOAD and PYBIND_SOAK_SUPERVISED set how many binds each way
makes; `make prove` takes 1,000,000 and 100,000.
"""

import os
import pathlib
import re
import subprocess

import launching
import pytest
import supervising
import support

PROCESSES = 50
BINDS = {
    "preload": int(os.environ.get("PYBIND_SOAK_PRELOAD", "10000")),
    "supervise": int(os.environ.get("PYBIND_SOAK_SUPERVISED", "4000")),
}
GIVE_UP_S = 120 + sum(BINDS.values()) // 100  # many times what it takes
GROWTH_KIB = 4096  # allocators breathe; 100,000 lost objects of 50 bytes are more
FOUND = r"binds (\d+) wrong 0 descriptors 0 memory 0 leftovers 0\n"
pytestmark = pytest.mark.usefixtures("grant80")


def data_size(pid):
    """Return the private memory of a process, in KiB."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmData:\s+(\d+)", text)[1])


def held(pid):
    """Return what a process holds: how many descriptors, which children."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(supervising.children(pid))


def holds_no_more(pid, before):
    """Tell whether a process holds at most what it held before."""
    return all(now <= then for now, then in zip(held(pid), before))


def wait_ready(process):
    """Wait until all processes are there."""
    supervising.wait_line(process.stdout)
    assert process.stdout.readline() == b"ready\n"


def soak(process):
    """Let the processes run once; returns how many binds they made."""
    process.stdin.write(b"x")
    process.stdin.flush()
    supervising.wait_line(process.stdout, GIVE_UP_S)
    result = process.stdout.readline().decode()
    found = re.fullmatch(FOUND, result)
    assert found, result
    return int(found[1])


def stop(process):
    """End the program by the end of its input; it must say nothing more."""
    out, err = process.communicate(timeout=support.PATIENCE_S)
    assert (process.returncode, out, err) == (0, b"", b"")
    support.wait_for(lambda: not supervising.processes(), "every process to end")


@pytest.mark.bound(3 * GIVE_UP_S)
@pytest.mark.parametrize("mode", BINDS)
def test_soak(mode):
    """No wrong answer; no descriptor, memory, child or zombie more than before."""
    program = launching.build(pathlib.Path(__file__).with_name("soak.c"))
    each = -(-BINDS[mode] // PROCESSES)
    argv = [program, PROCESSES, max(each // 10, 50), each]
    argv = supervising.under_pybind(*argv, mode=mode, ports=())
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = support.as_user(argv, bufsize=0, **pipes)
    try:
        wait_ready(process)
        soak(process)  # until then buffers grow
        wait_ready(process)
        watched = process.pid
        if mode == "supervise":  # the one that was started is the front
            (watched,) = supervising.children(process.pid)
        before, size = held(watched), data_size(watched)
        made = soak(process)
        assert made >= BINDS[mode]
        if mode == "supervise":  # the other is the program, whose processes looked at themselves
            support.wait_for(lambda: holds_no_more(watched, before), f"{before} again")
        growth = data_size(watched) - size
        assert growth < GROWTH_KIB
        stop(process)
    finally:
        process.kill()
        process.wait()
    print(f"soak {mode}: {made} binds, 0 wrong, {growth} KiB")
