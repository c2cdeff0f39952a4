# SPDX-License-Identifier: GPL-3.0-or-later
"""_lean does what the slow standard modules do that it replaces on the launch path."""

import os
import signal
import socket
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybind import _lean

# Names that both modules have, but that the standard module defines anew in Python.
REWRITTEN = {
    os: {"environ"},
    stat: set(),
    struct: set(),
    socket: {"SocketType", "getaddrinfo", "socket", "socketpair"},
}


@given(st.binary())
def test_decoding(name):
    """Any file name becomes the same text as by os.fsdecode(), and the same bytes again."""
    assert _lean.fsdecode(name) == os.fsdecode(name)
    assert _lean.fsencode(_lean.fsdecode(name)) == name


@pytest.mark.parametrize(
    "path", [b"/", b"/etc/passwd", b"/etc/passwd/x", b"/nowhere", b"", b"a\0b", b"/etc/../etc"]
)
def test_exists(path):
    """exists() says whether a path exists, for every reason why it may not."""
    assert _lean.exists(path) == os.path.exists(path)


@pytest.mark.parametrize("whole", REWRITTEN)
def test_halves(whole):
    """A name that both modules have is the same function or number."""
    half = _lean.posix if whole is os else getattr(_lean, whole.__name__)
    common = [name for name in dir(half) if not name.startswith("_") and hasattr(whole, name)]
    assert {n for n in common if getattr(half, n) != getattr(whole, n)} <= REWRITTEN[whole]
    assert len(common) > 5


def test_signals():
    """_lean has plain numbers that equal the enum of signal."""
    assert _lean.signal.SIGPIPE == signal.SIGPIPE
    assert _lean.signal.SIG_IGN == signal.SIG_IGN
