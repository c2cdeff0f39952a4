# SPDX-License-Identifier: GPL-3.0-or-later
"""Many binds from many processes: nothing leaks, and no answer is wrong.

PYBIND_SOAK_PRELOAD and PYBIND_SOAK_SUPERVISED set the number of binds in each mode;
`make prove` sets 1,000,000 and 100,000.
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
GIVE_UP_S = 120 + sum(BINDS.values()) // 100  # many times the usual duration
GROWTH_KIB = 4096  # allocators vary by less; 100,000 lost objects of 50 bytes are more
FOUND = r"binds (\d+) wrong 0 descriptors 0 memory 0 leftovers 0\n"
pytestmark = pytest.mark.usefixtures("grant80")


def data_size(pid):
    """Return the private memory of a process, in KiB."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmData:\s+(\d+)", text)[1])


def held(pid):
    """Return how many descriptors and how many children a process has."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(supervising.children(pid))


def holds_no_more(pid, before):
    """Tell whether a process has no more descriptors or children than before."""
    return all(now <= then for now, then in zip(held(pid), before))


def wait_ready(process):
    """Wait until the program has started all processes of its next round."""
    supervising.wait_line(process.stdout)
    assert process.stdout.readline() == b"ready\n"


def soak(process):
    """Let one round run, fail on a wrong answer or a leak, and return the number of binds."""
    process.stdin.write(b"x")
    process.stdin.flush()
    supervising.wait_line(process.stdout, GIVE_UP_S)
    result = process.stdout.readline().decode()
    found = re.fullmatch(FOUND, result)
    assert found, result
    return int(found[1])


def stop(process):
    """Close the program's input, which ends the program; check that no output or process is left."""
    out, err = process.communicate(timeout=support.PATIENCE_S)
    assert (process.returncode, out, err) == (0, b"", b"")
    support.wait_for(lambda: not supervising.processes(), "every process to end")


@pytest.mark.bound(3 * GIVE_UP_S)
@pytest.mark.parametrize("mode", BINDS)
def test_soak(mode):
    """No answer is wrong, and no descriptor, memory, child or zombie is left."""
    program = launching.build(pathlib.Path(__file__).with_name("soak.c"))
    each = -(-BINDS[mode] // PROCESSES)
    argv = [program, PROCESSES, max(each // 10, 50), each]
    argv = supervising.under_pybind(*argv, mode=mode, ports=())
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = support.as_user(argv, bufsize=0, **pipes)
    try:
        wait_ready(process)
        soak(process)  # in the first round buffers still grow
        wait_ready(process)
        watched = process.pid
        if mode == "supervise":  # this test started the front; the supervisor is its child
            (watched,) = supervising.children(process.pid)
        before, size = held(watched), data_size(watched)
        made = soak(process)
        assert made >= BINDS[mode]
        if mode == "supervise":  # in mode preload, soak.c does this check itself
            support.wait_for(lambda: holds_no_more(watched, before), f"held() at most {before}")
        growth = data_size(watched) - size
        assert growth < GROWTH_KIB
        stop(process)
    finally:
        process.kill()
        process.wait()
    print(f"soak {mode}: {made} binds, 0 wrong, {growth} KiB")
