# SPDX-License-Identifier: GPL-3.0-or-later
"""The front: the process that the user started, which stands for the program outside.

The front only waits for signals. It forwards those that a process sent. Those of the
terminal go to the whole process group, so the program gets them without the front. The
front stops when the program stops, and ends as the program ends.

Front and supervisor talk over one stream socket. Supervisor to front: a kind and a value,
each an int32 in host byte order. After each message the supervisor sends SIGCHLD, because
the front only waits for signals. Front to supervisor: one byte for each signal to forward,
and RESUMED after each STOPPED.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import struct
from typing import NoReturn

STOPPED = 1  # value: the signal that stopped the program
STARTED = 3  # value: the program's pid
EXITED = 2  # value: wait status (wait(2))
RESUMED = 0  # the front goes on after a stop
_MESSAGE = struct.Struct("=ii")

_KILLED = signal.SIGKILL.value  # the wait status of a program that SIGKILL ended
_UNKNOWN = -1  # not 0: that is the sender's pid in a signal from outside of a container
_BY_SIGNAL = 128  # plus the signal: the exit status that a shell gives a killed program


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped by a signal now (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False


class Report:
    """The supervisor's end. sock: owned. front_pidfd: to send SIGCHLD (owned)."""

    def __init__(self, sock: socket.socket, front_pidfd: int) -> None:
        self._sock = sock
        self.pidfd = front_pidfd
        sock.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor, for poll(2)."""
        return self._sock.fileno()

    def send(self, kind: int, value: int) -> None:
        """Send a message to the front; does nothing when the front is gone."""
        with contextlib.suppress(OSError):
            self._sock.send(_MESSAGE.pack(kind, value), socket.MSG_NOSIGNAL)
            signal.pidfd_send_signal(self.pidfd, signal.SIGCHLD)

    def receive_signals(self) -> bytes | None:
        """Return signals to forward, or RESUMED; b"" if the front is gone; None if nothing new."""
        try:
            return self._sock.recv(64)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """Close both descriptors."""
        self._sock.close()
        os.close(self.pidfd)


class Orders:
    """The front's end. sock: owned."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    def forward(self, number: int) -> None:
        """Ask the supervisor to send a signal to the program."""
        with contextlib.suppress(OSError):
            # MSG_NOSIGNAL: the front would forward its own SIGPIPE.
            self._sock.send(bytes([number]), socket.MSG_NOSIGNAL)

    def resumed(self) -> None:
        """Tell the supervisor that a stop is over."""
        self.forward(RESUMED)

    def receive(self) -> list[tuple[int, int]] | None:
        """Return the waiting messages (kind, value); None if the supervisor is gone."""
        try:
            data = self._sock.recv(_MESSAGE.size * 64)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return [_MESSAGE.unpack_from(data, at) for at in range(0, len(data), 8)] or None


def run(orders: Orders, supervisor_pid: int) -> NoReturn:
    """Stand for the program until its end. Every signal is blocked here.

    The supervisor has sent STARTED already.
    """
    every = signal.valid_signals()
    # Before the first signal: the program may have sent one to its whole group at once.
    program_pid = _listen(orders, _UNKNOWN)
    while True:
        info = signal.sigwaitinfo(every)
        if info.si_signo != signal.SIGCHLD:
            # si_code (sigaction(2)): 0 or less from a process, more from the kernel. A
            # signal that the program sent to its own group must not come back to it.
            if info.si_code <= 0 and info.si_pid != program_pid:
                orders.forward(info.si_signo)
            continue
        # In this order: after the supervisor's end, all its messages are there to be read.
        gone = _reap(supervisor_pid)
        program_pid = _listen(orders, program_pid)
        if gone:
            _end(_KILLED)


def _listen(orders: Orders, program_pid: int) -> int:
    """Obey all messages of the supervisor; returns the program's pid."""
    while messages := orders.receive():
        for kind, value in messages:
            if kind == EXITED:
                _end(value)
            elif kind == STARTED:
                program_pid = value
            elif kind == STOPPED:
                # Only if the stop still lasts: the group may have been continued meanwhile.
                if signal.SIGCONT not in signal.sigpending() and is_stopped(program_pid):
                    _stop(value)
                # A shell's fg sends SIGCONT to the whole group: the program has it already.
                signal.sigtimedwait([signal.SIGCONT], 0)
                orders.resumed()
    if messages is None:
        # The supervisor is gone, and has taken the program with it (PR_SET_PDEATHSIG).
        _end(_KILLED)
    return program_pid


def _reap(supervisor_pid: int) -> bool:
    """Reap children that are not pybind's; tell whether the supervisor has ended.

    The caller had such children before it executed pybind. The first process of a
    container gets all orphans there.
    """
    while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if ended.si_pid == supervisor_pid:
            return True
        os.waitpid(ended.si_pid, 0)
    return False


def _stop(number: int) -> None:
    """Stop by the signal that stopped the program, so that the shell sees its job stopped."""
    if number != signal.SIGSTOP:
        signal.signal(number, signal.SIG_DFL)
        signal.sigtimedwait([number], 0)  # a pending one of the terminal would stop us twice
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    if number != signal.SIGSTOP:
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])


def _end(status: int) -> NoReturn:
    """End with the program's wait status: its exit code, or its signal."""
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    # No core of the front: the program has left its own.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number in signal.valid_signals():  # else one of the C library's own, never blocked
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    # Still here: the first process of a container dies of no signal from inside.
    os._exit(_BY_SIGNAL + number)
