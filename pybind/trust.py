# SPDX-License-Identifier: GPL-3.0-or-later
"""What is safely root's: the helper's rules for files and folders (helpers/helper/rules.c) (leaf)."""

from __future__ import annotations

import os
import stat

# Why the helper refuses because of a folder.
NO_FOLDER = "no folder"  # a file, or a symbolic link: everything is refused
UNSAFE = "unsafe"  # others than root can write it: everything is refused
CLOSED = "closed"  # not every user can search it: who cannot is refused

_ANY_OTHER = stat.S_IWGRP | stat.S_IWOTH
_SEARCH = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def others_can_write(status: os.stat_result) -> bool:
    """Tell whether anybody but root can write a file, or make and remove names in a folder."""
    return status.st_uid != 0 or bool(status.st_mode & _ANY_OTHER)


def others_can_replace(status: os.stat_result) -> bool:
    """Tell whether anybody but root can put something else in place of what is below a path.

    In a folder with the sticky bit others can only add (unlink(2)); the mode of
    a symbolic link means nothing (symlink(7)).
    """
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
        return status.st_uid != 0
    return others_can_write(status)


def folder_faults(status: os.stat_result) -> tuple[str, ...]:
    """Return what is wrong with a folder on the way to the permission files, worst first.

    status: of lstat(2). Every such folder, from / on, must be a directory of
    root's that no other can write, and that every user can search.
    """
    if not stat.S_ISDIR(status.st_mode):
        return (NO_FOLDER,)
    unsafe = (UNSAFE,) if others_can_write(status) else ()
    closed = (CLOSED,) if status.st_mode & _SEARCH != _SEARCH else ()
    return unsafe + closed
