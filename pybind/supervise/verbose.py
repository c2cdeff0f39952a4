# SPDX-License-Identifier: GPL-3.0-or-later
"""-v of the supervised mode: the lines about one bind, and the thread that writes them.

The lines have the form of helpers/preload/report.c; helpers/protocol.h has the texts that
both modes use. They go to the program's standard error. When nobody reads it, a write to
the full pipe blocks; without the thread, every bind of the tree would then wait. The
descriptor cannot be made non-blocking, because the program shares it.

A function here returns lines without the name of the command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import select
import socket
import threading

from .. import _wire, explain
from ..binding import Verdict
from ..errors import HelperUnusable
from ..model import Address, Reply
from ..paths import CONFIG_DIR

_LINES_MAX = 1000  # in the queue; further lines are dropped
_PATIENCE_S = 1.0  # to write the rest after the last process of the tree has ended


class Lines:
    """The lines of -v. fd: where they go (owned); -1: no lines are written."""

    def __init__(self, fd: int) -> None:
        """Start the thread if lines are wanted; raises RuntimeError if it cannot start."""
        self._fd = fd
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        if fd >= 0:
            self._thread.start()

    @property
    def wanted(self) -> bool:
        """Tell whether lines are written at all."""
        return self._fd >= 0

    def say(self, *lines: str) -> None:
        """Put lines into the queue, each to be written after the name of the command.

        Never blocks.
        """
        if not self.wanted:
            return
        if self._queue.qsize() >= _LINES_MAX:
            self._dropped += len(lines)
            return
        if self._dropped:
            self._queue.put(f"{self._dropped} lines were dropped here: nobody read them")
            self._dropped = 0
        for line in lines:
            self._queue.put(line)

    def finish(self) -> None:
        """Wait until all lines are written, at most _PATIENCE_S."""
        if self.wanted:
            self._queue.put(None)
            self._thread.join(_PATIENCE_S)

    def _write_all(self) -> None:
        while True:
            line = self._queue.get()
            if line is None:
                return
            with contextlib.suppress(OSError):
                self._write(f"pybind: {line}\n".encode("utf-8", "backslashreplace"))

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # noqa: PERF203 # the program made the description non-blocking
                writable = select.poll()
                writable.register(self._fd, select.POLLOUT)
                writable.poll()


def of_reply(address: Address, reply: Reply) -> tuple[str, ...]:
    """Return the lines about a bind that the helper answered."""
    if reply.reason == _wire.REASON_NO_RULE:
        return (of_word(address, _wire.WORD_NO_GRANT),)
    if reply.reason == _wire.REASON_KERNEL and reply.error == errno.EADDRINUSE:
        return (of_word(address, _wire.WORD_BUSY),)
    text = _wire.REASON_TEXTS.get(reply.reason, "unknown reason")
    if reply.name:
        text += f", {CONFIG_DIR}/{reply.name}"
    if reply.line:
        text += f" line {reply.line}"
    if reply.v4_half:
        text += " (the 0.0.0.0 half of ::)"
    error = reply.cause or (reply.error if reply.reason == _wire.REASON_KERNEL else 0)
    if error:
        text += f", {_errno(error)}"
    repair = explain.refusal(Verdict(address, reply.error, reply))[1:] if reply.error else []
    return (_of_address(address, text), *repair)


def of_word(address: Address, word: int) -> str:
    """Return the line about a bind for which protocol.h has a text; word: _wire.WORD_*."""
    text = _wire.WORD_TEXTS[word]
    if word in (_wire.WORD_PORT, _wire.WORD_PROTOCOL, _wire.WORD_ADDRESS):
        text += _spec(address)
    elif word == _wire.WORD_NO_GRANT:
        text += f"{os.getuid()} {_spec(address)}"
    elif word == _wire.WORD_BUSY:
        text += str(address.port)
    return _of_address(address, text)


def without_helper(address: Address, failure: OSError | HelperUnusable) -> tuple[str, ...]:
    """Return the lines about a bind whose helper could not be started, or did not answer."""
    if isinstance(failure, OSError):
        return (_of_address(address, f"cannot ask the helper, {_errno(failure.errno)}"),)
    return (_of_address(address, failure.lines[0]), *failure.lines[1:])


def cannot_take(family: int, port: int, error: OSError) -> str:
    """Return the line about a bind whose socket the supervisor cannot take."""
    return _line(
        str(port),
        family,
        f"the supervisor cannot take the program's socket, {_errno(error.errno)}: a program that "
        "makes itself undumpable forbids it, or a seccomp filter that was set later; before Linux "
        "6.9 it cannot be had of a thread with descriptors of its own",
    )


def cannot_read(tid: int, error: OSError) -> str:
    """Return the line about a bind whose address the supervisor cannot read."""
    return left_to_kernel(
        tid,
        f"the supervisor cannot read its memory, {_errno(error.errno)}; a program forbids it that "
        "cannot be read itself (mode 0711) or makes itself undumpable",
    )


def in_landlock(tid: int) -> str:
    """Return the line about a bind of a process that may be in a Landlock domain."""
    return left_to_kernel(
        tid,
        "a process of the tree restricted itself by Landlock, and this one did so or may have "
        "inherited it",
    )


def left_to_kernel(tid: int, why: str) -> str:
    """Return the line about a bind that the kernel decides for another reason."""
    return f"a bind of process {tid} is left to the kernel: {why}"


def _of_address(address: Address, text: str) -> str:
    return _line(_spec(address), address.family, text)


def _line(port: str, family: int, text: str) -> str:
    return f"bind of port {port} ({'IPv4' if family == socket.AF_INET else 'IPv6'}): {text}"


def _spec(address: Address) -> str:
    return f"{address.port}/{'udp' if address.udp else 'tcp'}"


def _errno(number: int | None) -> str:
    return f"errno {number} ({os.strerror(number or 0)})"
