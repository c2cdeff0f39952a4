# SPDX-License-Identifier: GPL-3.0-or-later
"""Binds of other threads hold copies of the program's descriptors, and delay execve(2).

strace delays the process of a bind before it closes its copies; src/copies.c looks at them.
"""

import errno
import pathlib
import subprocess

import launching
import pytest
import support
from injecting import strace
from standing_in import other_helper, reply, script

from pybind import _wire

HERE = pathlib.Path(__file__).resolve().parent
pytestmark = [pytest.mark.usefixtures("grant80"), pytest.mark.hostile(66)]
PORTS = pytest.mark.parametrize("port", ["8080", "80"], ids=["kernel", "helper"])


def run(*words, delay):
    """Run the program with the library as UID; it must exit with 0. delay: of the closing."""
    program = launching.build(HERE / "src" / "copies.c")
    log = support.scratch_dir() / "log"
    options = ["-f", "-o", str(log), "-E", f"LD_PRELOAD={support.LIBRARY}"]
    options += ["-e", f"inject=close_range:delay_enter={delay}:when=2"]
    done = subprocess.run(
        [*strace(*options), program, *words],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/",
        timeout=support.PATIENCE_S,
    )  # fmt: skip
    text = log.read_text(errors="replace")
    assert done.returncode == 0, f"{done.stderr}{text[-3000:]}"
    assert "(DELAYED)" in text
    return text


def test_closed_socket_is_bound_again():
    """If a copy of a closed socket keeps a port busy, bind waits for the copy and tries again."""
    text = run("again", "8080", delay="40ms")
    assert "EADDRINUSE" in text and "FUTEX_WAIT_BITSET_PRIVATE" in text


@PORTS
def test_forked_child_does_not_wait(port):
    """A forked child inherits its parent's count of running binds, but does not wait for them."""
    text = run("forked", port, delay="300ms")
    calls = [line.split(None, 1) for line in text.splitlines()]
    begins = ("bind(", "<... bind resumed")  # strace splits a call that another call interrupts
    busy = next(pid for pid, call in calls if call.startswith(begins) and "EADDRINUSE" in call)
    helper = next(pid for pid, call in calls if "EADDRINUSE" in call)
    waits = [call for pid, call in calls if pid in (busy, helper) and call.startswith("futex(")]
    assert [call for call in waits if "WAIT_BITSET" in call] == []


def test_wait_is_bounded():
    """A bind that waits for a copy gives up after a tenth of a second, with the kernel's error."""
    assert "ETIMEDOUT" in run("held", "8080", delay="2s")


def test_execve_and_binds_wait_for_each_other():
    """An execve(2) waits for a running bind, and binds that begin later wait for the execve(2)."""
    mark = str(support.scratch_dir() / "mark")
    refusal = reply(_wire.REASON_NO_RULE, error=errno.EACCES)
    held = script(
        "import os, time",
        f"limit = time.monotonic() + {support.PATIENCE_S}",
        f"while not os.path.exists({mark!r}) and time.monotonic() < limit: time.sleep(0.01)",
        f"socket.socket(fileno=0).send({refusal!r})",
    )
    program = launching.build(HERE / "src" / "executes.c")
    with other_helper(held):
        done = support.run(["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", program, mark])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
