# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints pybind's lines before the program starts (leaf).

Writes to the descriptor, not to Python's streams. Python writes a stream's buffer
again when it ends: on a full disk or without a reader, pybind's status would be 120.
"""

from __future__ import annotations

from ._lean import posix


def say(*lines: str, name: str = "pybind") -> None:
    """Write lines to standard error, each after the name of the command.

    A failed write is ignored: the program starts even if nobody can read the lines.
    """
    try:
        for line in lines:
            _write(2, f"{name}: {line}\n")
    except OSError:
        pass


def note(*lines: str, quiet: bool) -> None:
    """Write lines that are no error, unless --quiet."""
    if not quiet:
        say("note: " + lines[0], *lines[1:])


def answer(line: str) -> None:
    """Write an answer of --check to standard output; raises OSError."""
    _write(1, f"{line}\n")


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[posix.write(fd, data) :]
