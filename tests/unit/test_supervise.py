# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins play faults that must not make the supervisor end its tree of processes."""

import contextlib
import os
import select
import socket

import pytest

from pybind import _wire, helper
from pybind.model import Address, Reply
from pybind.supervise import binds, words
from pybind.supervise.messages import Report

ADDRESS = Address(socket.AF_INET, bytes([127, 0, 0, 1]), 0, 80, udp=False)
REFUSED = Reply(_wire.REASON_FLAG_DENIED, 13, 0, 0, 0, True, False, False, "byport/80", ())


class Said:
    """Keeps the lines that -v would print."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.lines = []

    def say(self, *lines):
        self.lines += lines


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("fault", [OSError(2, "gone"), KeyError("x"), ValueError("x")])
def test_words_that_fail(monkeypatch, wanted, fault):
    """The bind gets its answer although the explanation for -v fails."""

    def fail(*_):
        raise fault

    answers = []
    said = Said(wanted)
    monkeypatch.setattr(binds, "_room", lambda: (1, 1))  # _room() would raise our own limit
    served = binds.Binds(-1, None, said, select.poll())
    monkeypatch.setattr(words, "of_reply", fail)
    monkeypatch.setattr(helper, "finish", lambda _: REFUSED)
    monkeypatch.setattr(served, "_respond", lambda *answer: answers.append(answer))
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        served._finish(binds._Pending(7, ADDRESS, os.dup(theirs.fileno())), ours)
    assert answers == [(7, None)]
    assert len(said.lines) == (1 if wanted else 0)


@pytest.mark.parametrize("fault", [OSError(11, "none left"), MemoryError(), ImportError("x")])
def test_helper_that_cannot_be_started(monkeypatch, fault):
    """Whatever keeps the helper from starting, the bind is the kernel's, and others are served."""

    def fail(*_):
        raise fault

    answers = []
    monkeypatch.setattr(binds, "_room", lambda: (1, 1))
    served = binds.Binds(-1, None, Said(wanted=True), select.poll())
    monkeypatch.setattr(helper, "start_bind", fail)
    monkeypatch.setattr(served, "_respond", lambda *answer: answers.append(answer))
    served._waiting += [binds._Pending(n, ADDRESS, os.open("/", os.O_PATH)) for n in (7, 8)]
    served._start_helpers()
    assert answers == [(7, None), (8, None)]
    assert served._lines.lines


def test_nothing_from_the_front_is_not_its_end():
    """receive_signals() tells a channel without a message from a closed channel."""
    ours, theirs = socket.socketpair()
    report = Report(ours, os.open("/", os.O_PATH))
    try:
        assert report.receive_signals() is None
        theirs.send(bytes([15]))
        assert report.receive_signals() == bytes([15])
        theirs.close()
        assert report.receive_signals() == b""
    finally:
        report.close()
