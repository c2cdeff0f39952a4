# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a command's exit status when a standard stream is full or has no reader (leaf).

Without this module, Python would print a traceback, or exit with status 120 when it
flushes the stream at its end.
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
    """A text stream that drops text after an error. stream: borrowed. error: the first error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text to the stream, or drop it after an error."""
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
        """Flush the stream, or drop its buffer after an error."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Send the stream's buffer, and everything later, to /dev/null."""
        self.error = self.error or error
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    @property
    def is_lost(self) -> bool:
        """Tell whether text was lost. Not when the reader left (EPIPE): nobody waits for it."""
        return self.error is not None and self.error.errno != errno.EPIPE


def _open(fd: int) -> None:
    """Open /dev/null as a closed descriptor, so that no file of ours gets its number."""
    try:
        os.fstat(fd)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number


@contextlib.contextmanager
def forgiving() -> Iterator[Forgiving]:
    """Make standard output and error forgiving; yields standard output. Flushes both at the end."""
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
