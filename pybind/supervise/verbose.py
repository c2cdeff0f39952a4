# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the lines of -v from a thread of its own (leaf).

The lines go where the program's standard error goes, and whoever reads that may have
stopped reading. A write to a full pipe blocks, and every bind of the tree would wait
for the supervisor. The descriptor is the program's too, so it cannot be made
non-blocking.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading

_LINES_MAX = 1000  # that wait to be read; further ones are dropped
_PATIENCE_S = 1.0  # for what is unread when the last process of the tree is gone


class Lines:
    """Lines for people, or nothing at all. fd: where they go (owned), or -1."""

    def __init__(self, fd: int) -> None:
        """Start the thread where lines are wanted; raises RuntimeError where none can be had."""
        self._fd = fd
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        if fd >= 0:
            self._thread.start()

    @property
    def wanted(self) -> bool:
        """Tell whether anybody asked for lines."""
        return self._fd >= 0

    def say(self, *lines: str) -> None:
        """Have lines written, each with the name of the command. Never blocks."""
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
        """Wait until everything was written, but not long for who does not read."""
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
