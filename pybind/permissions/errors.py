# SPDX-License-Identifier: GPL-3.0-or-later
"""Why permission files cannot be read or changed, with the exit status of pybindctl."""

from __future__ import annotations

from ..errors import PybindError

STATUS_NO = 1  # no, refused, would change, differs
STATUS_USAGE = 2
STATUS_INVALID = 3  # rules or an input file are invalid
STATUS_NEEDS_ROOT = 4


class AdminError(PybindError):
    """A clear end of pybindctl: bad arguments, unless a subclass says otherwise."""

    status = STATUS_USAGE


class Invalid(AdminError):
    """Rules, or an input file, that cannot be used."""

    status = STATUS_INVALID


class NeedsRoot(AdminError):
    """A change that only root can make."""

    status = STATUS_NEEDS_ROOT


class Failed(AdminError):
    """The system did not let it be done (disk full, read-only file system)."""

    status = STATUS_NO
