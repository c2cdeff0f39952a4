# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what pybind has to say before the program starts (leaf).

Straight to the descriptor: what lies in a buffer of Python's, because a disk is
full or a reader is gone, would fail once more at the end and make the status 120.
"""

from __future__ import annotations

from ._lean import posix


def say(*lines: str, name: str = "pybind") -> None:
    """Write lines to standard error, each with the name of the command.

    That nobody can read them is no reason not to start the program.
    """
    try:
        for line in lines:
            _write(2, f"{name}: {line}\n")
    except OSError:
        pass


def note(*lines: str, quiet: bool) -> None:
    """Say what is no error, unless --quiet."""
    if not quiet:
        say("note: " + lines[0], *lines[1:])


def answer(line: str) -> None:
    """Write what --check found out to standard output; raises OSError."""
    _write(1, f"{line}\n")


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[posix.write(fd, data) :]
