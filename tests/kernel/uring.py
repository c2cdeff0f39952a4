# SPDX-License-Identifier: GPL-3.0-or-later
"""Binds through io_uring, by src/uring.c."""

import errno
import functools
import pathlib

import pytest
import support
from running import USER, run_in


@functools.cache
def program():
    """Return src/uring.c, built."""
    return support.compile_c((pathlib.Path(__file__).with_name("src") / "uring.c").read_text())


def bind(daemon, *words, caller=USER):
    """Run it in pybindd's control group; return the errno of the bind, or skip."""
    try:
        said = int(run_in(daemon.cgroup, [program(), *words], caller))
    except AssertionError as error:
        if "io_uring_setup" in str(error):
            pytest.skip("this kernel has no system calls of io_uring for this user")
        raise
    if said == errno.EINVAL:  # no such operation: IORING_OP_BIND came with Linux 6.11
        pytest.skip("this kernel has no system calls of io_uring that bind")
    return said
