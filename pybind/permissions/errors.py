# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of reading and changing permission files, with pybindctl's exit status."""

from __future__ import annotations

from ..errors import PybindError

STATUS_NO = 1  # no, refused, would change, differs
STATUS_USAGE = 2
STATUS_INVALID = 3  # rules or an input file are invalid
STATUS_NEEDS_ROOT = 4


class AdminError(PybindError):
    """An error that ends pybindctl: bad arguments, unless a subclass says otherwise."""

    status = STATUS_USAGE


class Invalid(AdminError):
    """Rules or an input file are invalid."""

    status = STATUS_INVALID


class NeedsRoot(AdminError):
    """Only root can do or see this; pybindctl adds the command with sudo before it."""

    status = STATUS_NEEDS_ROOT


class Failed(AdminError):
    """The system refused the change (disk full, read-only file system)."""

    status = STATUS_NO
