# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard streams that nobody reads, or that are full, do not change what a command answers (leaf).

An answer is an exit status too: without this, Python would end with a
traceback, or with status 120 when it flushes the stream at its end.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO


class Forgiving:
    """A text stream (borrowed) that takes what it can no longer write. error: the first error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text as the stream does, or drop it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream, or drop what it holds."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Let all that follows, and what the stream still holds, go to /dev/null."""
        self.error = self.error or error
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    @property
    def is_lost(self) -> bool:
        """Tell whether text was lost that somebody waited for: not where the reader left."""
        return self.error is not None and self.error.errno != errno.EPIPE


def _open(fd: int) -> None:
    """Open /dev/null where a descriptor is closed: else a file of ours would come there."""
    try:
        os.fstat(fd)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number


@contextlib.contextmanager
def forgiving() -> Iterator[Forgiving]:
    """Make standard output and error forgiving; gives the former, flushed at the end."""
    for fd in range(3):
        _open(fd)
    before = sys.stdout, sys.stderr
    out, err = (
        Forgiving(stream or os.fdopen(fd, "w", closefd=False))
        for fd, stream in enumerate(before, 1)
    )
    for stream in before:  # the name of an account or file need not be UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = out, err
    try:
        yield out
        out.flush()
        err.flush()
    finally:
        sys.stdout, sys.stderr = before
