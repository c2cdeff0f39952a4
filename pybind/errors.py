# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that end pybind before the program starts (leaf).

A message has one to three lines: what was refused, why, and the command that
repairs it. Only cli.guard() prints these messages.
"""

from __future__ import annotations

STATUS_REFUSED = 125
STATUS_NOT_EXECUTABLE = 126
STATUS_NOT_FOUND = 127


class PybindError(Exception):
    """An error with its message. status: pybind's exit status. lines: the message."""

    status = STATUS_REFUSED

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


class UsageError(PybindError):
    """The command line cannot be understood."""


class Refused(PybindError):
    """A listed port, or the program itself, cannot be served."""


class HelperUnusable(PybindError):
    """The helper is missing, broken, or cannot gain its capability."""


class ProgramNotExecutable(PybindError):
    """The program was found but cannot be executed."""

    status = STATUS_NOT_EXECUTABLE


class ProgramNotFound(PybindError):
    """There is no such program."""

    status = STATUS_NOT_FOUND
