# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the helper as another user, in a child that becomes this user for good."""

import contextlib
import os
import signal

import pytest
import support
from support import GID, OTHER_UID, UID, rules

from pybind.admin.asking import ask, child
from pybind.admin.doctor import installation
from pybind.model import Address
from pybind.permissions.errors import Failed, NeedsRoot
from pybind.permissions.who import Identity

PORT80 = Address(support.socket.AF_INET, bytes(4), 0, 80, False)


def test_ask_as_is_the_user():
    """The helper sees exactly the ids that it is asked with, even without such an account."""
    rules("byuser/12345", "any,80")
    rules("bygroup/777", "any,81")
    port81 = PORT80._replace(port=81)
    replies = ask.ask(Identity(12345, 50, [777, 60], None), [PORT80, port81])
    assert [reply.name for reply in replies] == ["byuser/12345", "bygroup/777"]
    names = [step.name for step in ask.ask(Identity(4294967294, 50, [60], None), [PORT80])[0].steps]
    assert names[-3:] == ["byuser/4294967294", "bygroup/50", "bygroup/60"]
    assert ask.ask(Identity(0, 0, [60], None), [PORT80])[0].steps[-1].name == "bygroup/60"
    for ids in ((-1, 0, []), (0xFFFFFFFF, 0, []), (1, -1, []), (1, 1, [0xFFFFFFFF])):
        with pytest.raises(Exception, match="is no uid or gid"):
            ask.ask(Identity(*ids, None), [PORT80])


def whereabouts():
    """Return whether this process leads a session, and what its standard streams are."""
    return [os.getsid(0) == os.getpid(), *(os.readlink(f"/proc/self/fd/{fd}") for fd in range(3))]


def test_a_child_is_away_from_roots_terminal():
    """What runs as the user has no way to the terminal: it may be traced, and could type there."""
    found = child.answer_as(Identity(UID, GID, [], None), whereabouts)
    assert found == [True, "/dev/null", "/dev/null", "/dev/null"]
    alone = installation.run_python("import os; print(os.getsid(0) == os.getpid(), os.getuid())")
    assert alone.stdout == f"True {UID}\n", alone.stderr


def test_a_stopped_child_keeps_nobody(monkeypatch):
    """If the user stops the child that asks as them, root gives up and leaves no child."""
    become = child._become

    def stopped(*ids):
        become(*ids)
        os.kill(os.getpid(), signal.SIGSTOP)

    monkeypatch.setattr(child, "_become", stopped)
    monkeypatch.setattr(ask, "_PATIENCE_S", 0.2)
    with pytest.raises(Failed, match="without an answer"):
        ask.ask(Identity(UID, GID, [], None), [PORT80])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_ask_as_leaves_nothing(monkeypatch):
    """No child and no descriptor stays, even with SIGCHLD ignored; only root may ask."""
    before = sorted(os.listdir("/proc/self/fd"))
    for disposition in (signal.SIG_DFL, signal.SIG_IGN):
        old = signal.signal(signal.SIGCHLD, disposition)
        try:
            assert len(ask.ask(Identity(UID, GID, [], None), [PORT80] * 3)) == 3
        finally:
            signal.signal(signal.SIGCHLD, old)
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    assert sorted(os.listdir("/proc/self/fd")) == before
    monkeypatch.setattr(os, "geteuid", lambda: UID)
    monkeypatch.setattr(os, "getuid", lambda: UID)
    with pytest.raises(NeedsRoot):
        ask.ask(Identity(OTHER_UID, GID, [], None), [PORT80])
