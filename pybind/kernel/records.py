# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's records -> lines, written to syslog's socket.

Writing never waits: a log that nobody reads must not stop pybindd. Lines that the socket
does not take are counted and dropped.
"""

from __future__ import annotations

import os
import socket

from ..model import address_word
from . import layout
from .table import Numbers

SYSLOG = "/dev/log"
_AUTHPRIV, _NOTICE, _INFO = 10 << 3, 5, 6
_WHY = {
    layout.REFUSED_LEFT: "left to pybind-helper",
    layout.REFUSED_IDS: "real and effective ids differ",
    layout.REFUSED_CHANGED: "another program changed the address after it was judged",
    layout.REFUSED_LATE: "no longer granted when the kernel came to it",
}


def line_of(record: bytes, numbers: Numbers) -> tuple[bool, str]:
    """Return whether a record is about a grant, and its line."""
    (high, low, lost, uid, tgid, file, port, family, udp, event, foreign, comm) = (
        layout.RECORD.unpack(record)
    )
    value = high << 64 | low
    word = address_word(value.to_bytes(4 if family == 4 else 16, "big"))
    address = word if family == 4 else f"[{word}]"
    granted = event == layout.GRANTED
    words = [
        "granted" if granted else "refused",
        f"uid={uid}" + (" userns=other" if foreign else ""),
        f"{'udp' if udp else 'tcp'} {address}:{port}",
        f"by={numbers.name(file) or '-'}",
        f"pid={tgid}",
        f'comm="{_printable(comm)}"',
    ]
    if event in _WHY:
        words.append(f'why="{_WHY[event]}"')
    if lost:
        words.append(f"unlogged={lost}")
    return granted, " ".join(words)


def _printable(comm: bytes) -> str:
    """Return the command name, which its process chooses, with escapes: it cannot forge a field."""
    text = comm.partition(b"\0")[0].decode("ascii", "backslashreplace")
    return "".join(c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in text)


class Log:
    """Writes lines to syslog. unlogged: how many lines the socket did not take."""

    def __init__(self, path: str = SYSLOG) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self.unlogged = 0

    def write(self, text: str, notice: bool = False) -> None:
        """Write one line. notice: with priority notice, not info."""
        priority = _AUTHPRIV | (_NOTICE if notice else _INFO)
        data = f"<{priority}>pybindd[{os.getpid()}]: {text}".encode()
        # A restarted syslog has a new socket.
        if not self._send(data) and not self._send(data):
            self.unlogged += 1

    def _send(self, data: bytes) -> bool:
        try:
            self._connected().send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            self.close()
            return False
        return True

    def _connected(self) -> socket.socket:
        if self._socket is None:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)
            self._socket.connect(self._path)
        return self._socket

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
