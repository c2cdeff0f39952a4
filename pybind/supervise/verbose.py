# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the lines of -v from a thread of its own (leaf).

The lines go to the program's standard error. When nobody reads it, a write to the full
pipe blocks; without the thread, every bind of the tree would then wait. The descriptor
cannot be made non-blocking, because the program shares it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading

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
