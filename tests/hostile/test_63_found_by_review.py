# SPDX-License-Identifier: GPL-3.0-or-later
"""What a review of the preload library and of the helper's start found."""

import os
import pathlib

import launching
import pytest
import support

SRC = pathlib.Path(__file__).resolve().parent / "src"
OTHER = {support.UID: support.OTHER_UID, support.OTHER_UID: support.UID}


@pytest.fixture
def hogged(uid):
    """Return a processor that another user keeps busy."""
    processor = min(os.sched_getaffinity(0))
    hog = ["/usr/bin/taskset", "-c", processor, "/bin/sh", "-c", "while :; do :; done"]
    process = support.as_user(hog, uid=OTHER[uid], gid=OTHER[uid])
    yield processor
    process.kill()
    process.wait()


def test_case_63_forked_child(uid, grant, hogged):
    """300 children of a program that binds in a thread: EADDRINUSE at once, each time."""
    program = launching.build(SRC / "forked.c")
    command = ["/usr/bin/taskset", "-c", hogged, program, 300]
    done = support.run(
        ["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", *command],
        uid=uid, gid=uid, timeout=4 * support.PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    print("longest bind, in microseconds:", done.stdout)
