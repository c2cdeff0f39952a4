# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket that pybindctl asks, the status file, and the lock.

All three are in /run, where only root can create files; only root can connect to the
socket. pybindd.py describes the questions and the answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
from typing import Any

from ..paths import PYBINDD_LOCK, PYBINDD_SOCKET, PYBINDD_STATUS

CLIENTS_MAX = 32
LINE_MAX = 16
_PEER = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Running(Exception):
    """Another pybindd has the lock. args[0]: its pid, as it wrote it into the file."""


def take_lock() -> int:
    """Return the lock's descriptor (owned by the caller), which has to stay open.

    Raises Running, OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(PYBINDD_LOCK, flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise Running(pid) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def write_status(status: dict[str, Any]) -> None:
    """Replace the status file, which everybody can read. Raises OSError."""
    new = PYBINDD_STATUS + ".new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(fd, "w") as file:
        os.fchmod(fd, 0o644)
        json.dump(status, file)
    os.replace(new, PYBINDD_STATUS)


def remove() -> None:
    """Remove status and socket. The lock's file stays: another pybindd may hold it already."""
    for path in (PYBINDD_STATUS, PYBINDD_SOCKET):
        with contextlib.suppress(OSError):
            os.unlink(path)


class Server:
    """Listens on the socket, and collects the questions of root's clients. Never waits."""

    def __init__(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(PYBINDD_SOCKET)  # a killed pybindd has left it: we hold the lock
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.listener = socket.socket(socket.AF_UNIX, kind)
        mask = os.umask(0o177)
        try:
            self.listener.bind(PYBINDD_SOCKET)
        finally:
            os.umask(mask)
        self.listener.listen(CLIENTS_MAX)
        self._clients: dict[int, tuple[socket.socket, bytes]] = {}

    def descriptors(self) -> list[int]:
        """Return the descriptors to wait for (borrowed)."""
        return [self.listener.fileno(), *self._clients]

    def questions(self) -> list[tuple[socket.socket, bytes]]:
        """Accept clients and read from them; return whole questions.

        The caller owns the sockets of these questions, and has to answer() them.
        """
        with contextlib.suppress(OSError):
            while len(self._clients) < CLIENTS_MAX:
                client, _ = self.listener.accept()
                client.setblocking(False)
                if _is_roots(client):
                    self._clients[client.fileno()] = (client, b"")
                else:
                    client.close()
        whole = []
        for fd, (client, before) in list(self._clients.items()):
            more = _received(client)
            if more is None:
                continue
            said = before + more
            if b"\n" in said and len(said) <= LINE_MAX:
                whole.append((client, said.partition(b"\n")[0]))
            elif more and len(said) < LINE_MAX:
                self._clients[fd] = (client, said)
                continue
            else:
                client.close()
            del self._clients[fd]
        return whole


def _received(client: socket.socket) -> bytes | None:
    """Return the bytes of a client; None: nothing yet; b"": the end, or an error."""
    try:
        return client.recv(LINE_MAX)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def answer(client: socket.socket, status: dict[str, Any]) -> None:
    """Send one answer and close the socket; a client that does not read gets no answer."""
    with contextlib.suppress(OSError), client:
        client.settimeout(0.2)  # 100 names fit into the socket's buffer
        client.sendall(json.dumps(status).encode())


def _is_roots(client: socket.socket) -> bool:
    data = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    uid: int = _PEER.unpack(data)[1]
    return uid == 0
