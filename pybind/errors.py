# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends pybind before the program starts (leaf).

One message is one to three lines: what was refused, why, and the command that
repairs it. cli.main() is the only place that prints them.
"""

from __future__ import annotations

STATUS_REFUSED = 125
STATUS_NOT_EXECUTABLE = 126
STATUS_NOT_FOUND = 127


class PybindError(Exception):
    """A clear end: status is pybind's exit status, lines are what to print."""

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
