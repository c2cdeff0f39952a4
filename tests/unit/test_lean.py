# SPDX-License-Identifier: GPL-3.0-or-later
"""What the launch path takes in place of slow modules does what those do."""

import os
import signal
import socket
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybind import _lean

# Of the names that both have, those that the standard module writes in Python.
REWRITTEN = {
    os: {"environ"},
    stat: set(),
    struct: set(),
    socket: {"SocketType", "getaddrinfo", "socket", "socketpair"},
}


@given(st.binary())
def test_decoding(name):
    """A file name of any bytes becomes the same text, and goes back."""
    assert _lean.fsdecode(name) == os.fsdecode(name)
    assert _lean.fsencode(_lean.fsdecode(name)) == name


@pytest.mark.parametrize(
    "path", [b"/", b"/etc/passwd", b"/etc/passwd/x", b"/nowhere", b"", b"a\0b", b"/etc/../etc"]
)
def test_exists(path):
    """A file that is there, and every way in which it is not."""
    assert _lean.exists(path) == os.path.exists(path)


@pytest.mark.parametrize("whole", REWRITTEN)
def test_halves(whole):
    """What both have is the same function or number."""
    half = _lean.posix if whole is os else getattr(_lean, whole.__name__)
    common = [name for name in dir(half) if not name.startswith("_") and hasattr(whole, name)]
    assert {n for n in common if getattr(half, n) != getattr(whole, n)} <= REWRITTEN[whole]
    assert len(common) > 5


def test_signals():
    """Numbers, where signal has an enum."""
    assert _lean.signal.SIGPIPE == signal.SIGPIPE
    assert _lean.signal.SIG_IGN == signal.SIG_IGN
