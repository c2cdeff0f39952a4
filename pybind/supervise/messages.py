# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages between front and supervisor, over one stream socket (leaf).

Supervisor to front: a kind and a value, each an int32 in host byte order. After each
message the supervisor sends SIGCHLD, because the front only waits for signals. Front to
supervisor: one byte for each signal to forward, and RESUMED after each STOPPED.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct

STOPPED = 1  # value: the signal that stopped the program
STARTED = 3  # value: the program's pid
EXITED = 2  # value: wait status (wait(2))
RESUMED = 0  # the front goes on after a stop
_MESSAGE = struct.Struct("=ii")


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
