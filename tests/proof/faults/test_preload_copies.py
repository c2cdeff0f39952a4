# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the program's descriptors, which the process of another thread's bind holds.

strace holds that process up before it closes them; src/copies.c looks.
"""

import pathlib
import subprocess

import launching
import pytest
import support
from injecting import strace

HERE = pathlib.Path(__file__).resolve().parent
pytestmark = [pytest.mark.usefixtures("grant80"), pytest.mark.hostile(66)]
PORTS = pytest.mark.parametrize("port", ["8080", "80"], ids=["kernel", "helper"])


def run(*words, delay):
    """Run the program with the library as UID; it must end well. delay: of what src/copies.c says."""
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
    """Its copy keeps the port busy for a moment: bind waits for that, and then tries again."""
    text = run("again", "8080", delay="40ms")
    assert "EADDRINUSE" in text and "FUTEX_WAIT_BITSET_PRIVATE" in text


@PORTS
def test_forked_child_does_not_wait(port):
    """A child has the counts of its parent's threads, whose processes end elsewhere."""
    text = run("forked", port, delay="300ms")
    calls = [line.split(None, 1) for line in text.splitlines()]
    busy = next(pid for pid, call in calls if call.startswith("bind(") and "EADDRINUSE" in call)
    helper = next(pid for pid, call in calls if "EADDRINUSE" in call)
    waits = [call for pid, call in calls if pid in (busy, helper) and call.startswith("futex(")]
    assert [call for call in waits if "WAIT_BITSET" in call] == []


def test_wait_is_bounded():
    """Who waits for a copy that stays gives up after a tenth of a second, and is told the truth."""
    assert "ETIMEDOUT" in run("held", "8080", delay="2s")
