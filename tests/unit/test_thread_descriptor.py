# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread's descriptor, on kernels with PIDFD_THREAD (Linux 6.9) and on those without."""

import ctypes
import errno
import os
import threading

import pytest

from pybind.supervise import kernel

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
