# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends pybindctl, with its exit status (leaf)."""

from __future__ import annotations

STATUS_NO = 1  # no, refused, would change, differs
STATUS_USAGE = 2
STATUS_INVALID = 3  # rules or an input file are invalid
STATUS_NEEDS_ROOT = 4


class AdminError(Exception):
    """A clear end: status is the exit status, lines are what to print."""

    status = STATUS_USAGE

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


class Invalid(AdminError):
    """Rules, or an input file, that cannot be used."""

    status = STATUS_INVALID


class NeedsRoot(AdminError):
    """A change that only root can make."""

    status = STATUS_NEEDS_ROOT


class Failed(AdminError):
    """The system did not let it be done (disk full, read-only file system)."""

    status = STATUS_NO
