# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor: what -v says of a bind, faults that it survives, and a thread's descriptor.

Stand-ins play the faults and the kernels that the tests' machine does not have.
"""

import contextlib
import ctypes
import errno
import os
import select
import socket
import threading

import pytest

from pybind import _wire, helper
from pybind.model import Address, Reply
from pybind.paths import CONFIG_DIR
from pybind.supervise import binds, kernel, verbose
from pybind.supervise.front import Report

TCP = Address(socket.AF_INET, bytes(4), 0, 81, udp=False)
UDP = Address(socket.AF_INET6, bytes(16), 0, 53, udp=True)


def reply(reason, error=0, cause=0, line=0, v4_half=False, name=""):
    return Reply(reason, error, cause, line, 0, True, v4_half, False, name, ())


# -- what -v says of one bind


def test_granted():
    """The port, its protocol and family, and the file and line that grant."""
    told, *_ = verbose.of_reply(TCP, reply(_wire.REASON_GRANTED, line=3, name="byuser/1000"))
    assert told == f"bind of port 81/tcp (IPv4): granted, {CONFIG_DIR}/byuser/1000 line 3"


def test_refused():
    """The line has the reason, the file, the refused half of :: and the error behind it."""
    told , *_ = verbose.of_reply(UDP, reply(_wire.REASON_FLAG_ERROR, cause=errno.EACCES, v4_half=True,
                                     name="byport/53"))  # fmt: skip
    assert told == (
        "bind of port 53/udp (IPv6): permission file could not be examined, "
        f"{CONFIG_DIR}/byport/53 (the 0.0.0.0 half of ::), errno 13 (Permission denied)"
    )


def test_what_is_to_be_typed():
    """The lines for no grant, a busy port and an unlisted port end with what helps."""
    no_rule, *_ = verbose.of_reply(TCP, reply(_wire.REASON_NO_RULE, errno.EACCES))
    assert no_rule.endswith(f": sudo pybindctl grant {os.getuid()} 81/tcp")
    busy, *_ = verbose.of_reply(UDP, reply(_wire.REASON_KERNEL, errno.EADDRINUSE))
    assert busy.endswith("the port is in use; to see by whom: sudo ss -Hltunp sport = :53")
    for word in (_wire.WORD_PORT, _wire.WORD_PROTOCOL, _wire.WORD_ADDRESS):
        assert verbose.of_word(UDP, word).endswith(": --port 53/udp")
    for word in (_wire.WORD_NO_NEW_PRIVS, _wire.WORD_USER_NAMESPACE):
        assert verbose.of_word(UDP, word).endswith(": pybind --mode supervise")
    filtered = verbose.of_word(UDP, _wire.WORD_SECCOMP)
    assert filtered.endswith("; start the program where that filter is not")


def test_another_error_of_the_kernel():
    """Any other error of bind(2) is named by number and text."""
    told, *_ = verbose.of_reply(TCP, reply(_wire.REASON_KERNEL, errno.EADDRNOTAVAIL))
    assert told.endswith("itself failed, errno 99 (Cannot assign requested address)")


# -- faults that must not make the supervisor end its tree of processes


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
    refused = reply(_wire.REASON_FLAG_DENIED, errno.EACCES, name="byport/80")
    said = Said(wanted)
    monkeypatch.setattr(binds, "_room", lambda: (1, 1))  # _room() would raise our own limit
    served = binds.Binds(-1, None, said, select.poll())
    monkeypatch.setattr(verbose, "of_reply", fail)
    monkeypatch.setattr(helper, "finish", lambda _: refused)
    monkeypatch.setattr(served, "_respond", lambda *answer: answers.append(answer))
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        served._finish(binds._Pending(7, TCP, os.dup(theirs.fileno())), ours)
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
    served._waiting += [binds._Pending(n, TCP, os.open("/", os.O_PATH)) for n in (7, 8)]
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


# -- a thread's descriptor, on kernels with PIDFD_THREAD (Linux 6.9) and on those without

CLONE_FILES = 0x400


class Waiting(threading.Thread):
    """A thread that waits, with a descriptor, in a table of its own or in that of the process."""

    def __init__(self, own_table):
        super().__init__()
        self.own_table = own_table
        self.fd, other = os.pipe()
        os.close(other)
        self.ready, self.done = threading.Event(), threading.Event()

    def run(self):
        """Wait; in a table of its own the descriptor is another file."""
        if self.own_table:
            assert ctypes.CDLL(None).unshare(CLONE_FILES) == 0
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, self.fd)
        self.inode = os.fstat(self.fd).st_ino
        self.ready.set()
        self.done.wait()


@pytest.fixture(params=["own table", "shared table"])
def thread(request):
    """Return a thread that waits."""
    waiting = Waiting(request.param == "own table")
    waiting.start()
    waiting.ready.wait()
    yield waiting
    waiting.done.set()
    waiting.join()
    os.close(waiting.fd)


@pytest.fixture
def older(monkeypatch):
    """Have a kernel before Linux 6.9: the flag is EINVAL."""
    real = os.pidfd_open

    def pidfd_open(pid, flags=0):
        if flags:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(pid)

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)


def taken(thread, fd):
    """Return the inode of a duplicate, or the errno for which there is none."""
    try:
        own = kernel.take_fd(thread.native_id, fd)
    except OSError as error:
        return errno.errorcode[error.errno]
    with os.fdopen(own) as file:
        return os.fstat(file.fileno()).st_ino


def test_process_stands_for_its_thread(older, thread):
    """Never the file of another table: the process's where it is the thread's, else none."""
    assert taken(thread, thread.fd) == ("ENOTSUP" if thread.own_table else thread.inode)
    assert taken(thread, 999) == "ENOENT"


def test_descriptor_that_the_process_closed(older, thread):
    """A thread with its own table has the descriptor still; else nobody has one of the number."""
    os.close(thread.fd)
    assert taken(thread, thread.fd) == ("ENOTSUP" if thread.own_table else "ENOENT")
    thread.fd = os.dup(1)


def test_thread(thread):
    """The thread's own file where the kernel can tell threads apart, else never another one."""
    shared = taken(thread, thread.fd)
    assert shared == thread.inode or (thread.own_table and shared == "ENOTSUP")
