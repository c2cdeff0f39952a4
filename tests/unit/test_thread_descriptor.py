# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread's descriptor, on kernels with PIDFD_THREAD (Linux 6.9) and on those without."""

import errno
import os
import threading

import pytest

from pybind.supervise import kernel


@pytest.fixture
def thread():
    """Return the id of a waiting thread that is not its group's leader."""
    done = threading.Event()
    waiting = threading.Thread(target=done.wait)
    waiting.start()
    yield waiting.native_id
    done.set()
    waiting.join()


def pid_of(descriptor):
    """Return the Pid line of a pidfd, and close it."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    os.close(descriptor)
    return int(fields["Pid"])


def test_process_where_threads_have_none(monkeypatch, thread):
    """Before Linux 6.9 the flag is EINVAL, and the process stands for its thread."""
    real = os.pidfd_open

    def older(pid, flags=0):
        if flags:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(pid)

    monkeypatch.setattr(os, "pidfd_open", older)
    assert pid_of(kernel.open_thread(thread)) == os.getpid()


def test_thread(thread):
    """The descriptor names the thread where the kernel can, else its process."""
    assert pid_of(kernel.open_thread(thread)) in (thread, os.getpid())
