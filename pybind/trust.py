# SPDX-License-Identifier: GPL-3.0-or-later
"""When a file or folder is safely root's, by the helper's rules (helpers/helper/rules.c) (leaf)."""

from __future__ import annotations

import errno
import os
import stat

# The faults of a folder for which the helper refuses.
NO_FOLDER = "no folder"  # a file or a symbolic link: everything is refused
UNSAFE = "unsafe"  # others than root can write it: everything is refused
CLOSED = "closed"  # some users cannot search it: they are refused

_ANY_OTHER = stat.S_IWGRP | stat.S_IWOTH
_LINKS_MAX = 40  # path_resolution(7)
_SEARCH = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def others_can_write(status: os.stat_result) -> bool:
    """Tell whether anybody but root can write this file, or change entries of this folder."""
    return status.st_uid != 0 or bool(status.st_mode & _ANY_OTHER)


def others_can_replace(status: os.stat_result) -> bool:
    """Tell whether anybody but root can replace this file, or an entry of this folder.

    In a folder with the sticky bit, others can only add entries (unlink(2)). The mode
    of a symbolic link means nothing (symlink(7)). status: of lstat(2).
    """
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
        return status.st_uid != 0
    return others_can_write(status)


def chain(path: str) -> list[str]:
    """Return the folders from / down to `path`, an absolute path, itself included."""
    parts = path.split("/")
    return ["/".join(parts[:end]) or "/" for end in range(1, len(parts) + 1)]


def changeable(path: str) -> str | None:
    """Return the first thing on the way to what a path leads to that is not root's alone.

    Every folder and every link is looked at, and what is there in the end: whoever can
    replace one of them decides what the path leads to, whoever owns that now. Raises OSError.
    """
    left = os.path.join(os.getcwd(), path).split("/")
    at, links = "", 0
    while left:
        name = left.pop(0)
        here = f"{at}/{name}" if name else at
        if name in (".", ".."):
            at = at if name == "." else at.rpartition("/")[0]
            continue
        status = os.lstat(here or "/")
        if others_can_replace(status):
            return here or "/"
        if not stat.S_ISLNK(status.st_mode):
            at = here
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(here)
        at = "" if target.startswith("/") else at
        left = [*target.split("/"), *left]
    end = at or "/"
    return end if others_can_write(os.stat(end)) else None  # there others can add, in /tmp too


def folder_faults(status: os.stat_result) -> tuple[str, ...]:
    """Return the faults of a folder on the way to the permission files, worst first.

    Each folder from / down must be a directory (and no symbolic link) that belongs to
    root, that nobody else can write, and that every user can search. status: of
    lstat(2).
    """
    if not stat.S_ISDIR(status.st_mode):
        return (NO_FOLDER,)
    unsafe = (UNSAFE,) if others_can_write(status) else ()
    closed = (CLOSED,) if status.st_mode & _SEARCH != _SEARCH else ()
    return unsafe + closed
