# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders on the way to the permission files: what they must be, and who may search them.

Each must be a directory of root's that nobody else can write, or the helper
refuses everything (helpers/helper/rules.c, open_config()). The helper has no
right over files but the caller's, so each caller must be able to search them.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from .. import diagnose
from ..paths import CONFIG_DIR, FOLDERS
from ..repairs import SETUP, put_aside, sudo
from ..trust import NO_FOLDER, UNSAFE, folder_faults, others_can_write
from .access import Access, X, access_of, permits

_PARTS = CONFIG_DIR.split("/")
PARENTS = tuple("/".join(_PARTS[:end]) or "/" for end in range(1, len(_PARTS) + 1))
OVERFLOW_ID = 65534  # whose files are root's, for a process in a user namespace


class Trouble(NamedTuple):
    """Why the helper refuses because of a file.

    name: below CONFIG_DIR, or a path. line: 0 for none. repair: what an
    administrator types, "" where nothing can be typed.
    """

    name: str
    line: int
    text: str
    repair: str


def path_of(name: str) -> str:
    """Return the path of a name below the permission directory; a path stays."""
    return name if name.startswith("/") else f"{CONFIG_DIR}/{name}"


def owner_and_mode(status: os.stat_result) -> str:
    """Return them for people."""
    return f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"


def broken() -> list[Trouble]:
    """Return what is wrong with / and the folders down to the four: each refuses everything."""
    found = []
    for path in (*PARENTS, *map(path_of, FOLDERS)):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if path == CONFIG_DIR:
                found.append(Trouble(path, 0, "does not exist", SETUP))
            continue
        except OSError:  # below something that is named here already
            continue
        if status.st_uid == OVERFLOW_ID and diagnose.in_user_namespace():
            return [Trouble(path, 0, diagnose.user_namespace()[0], "")]
        trouble = _unfit(path, status)
        if trouble:
            found.append(trouble)
    return found


def _unfit(path: str, status: os.stat_result) -> Trouble | None:
    below = path.startswith(CONFIG_DIR)
    if stat.S_ISLNK(status.st_mode) and _is_roots(path):
        # What the link names is copied with its owners and lists: no grant is lost.
        new, old = path + ".new", path + ".link"
        repair = sudo(("cp", "-a", path + "/.", new), ("mv", path, old), ("mv", new, path))
        return Trouble(path, 0, "is a symbolic link, and must be a directory", repair)
    found = folder_faults(status)
    if NO_FOLDER in found:
        repair = f"{put_aside(path)} && {SETUP}" if below else ""
        kind = "a symbolic link, and must be" if stat.S_ISLNK(status.st_mode) else "not"
        return Trouble(path, 0, f"is {kind} a directory", repair)
    if UNSAFE not in found:
        return None
    repair = SETUP if below else sudo(("chown", "root:root", path), ("chmod", "go-w", path))
    text = f"others than root can write it ({owner_and_mode(status)})"
    return Trouble(path, 0, text, repair)


def _is_roots(path: str) -> bool:
    """Tell whether a link leads to a directory in which only root can have written."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and not others_can_write(status)


def closed() -> list[tuple[str, str, Access]]:
    """Return the folders that not everybody can search: (one of FOLDERS or "", path, access)."""
    found = []
    for folder, path in (*(("", path) for path in PARENTS), *zip(FOLDERS, map(path_of, FOLDERS))):
        try:
            access = access_of(path)
        except OSError:
            continue
        if not all(perm & X for perm in access.effective().values()):
            found.append((folder, path, access))
    return found


def unsearchable(
    uid: int, gids: set[int], among: list[tuple[str, str, Access]] | None = None
) -> tuple[str, Trouble] | None:
    """Return the first folder that this user cannot search: there the helper stops.

    among: from closed(), where it is asked for many users. The folder is one of
    FOLDERS, or "" for one above them.
    """
    for folder, path, access in closed() if among is None else among:
        if uid != 0 and not permits(access, uid, gids, X):
            text = f"not every user can search it ({access.text})"
            return folder, Trouble(path, 0, text, to_open(path, access))
    return None


def to_open(path: str, access: Access) -> str:
    """Return the command that lets every user search a folder."""
    if path.startswith(CONFIG_DIR):
        return SETUP
    if access.extended:
        return sudo(("setfacl", "-b", path), ("chmod", "a+x", path))
    return sudo(("chmod", "a+x", path))


def noexec(folder: str) -> bool:
    """Tell whether no file in a folder can be executable, so that all flag files refuse."""
    try:
        return bool(os.statvfs(path_of(folder)).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def on_noexec(folder: str) -> Trouble:
    """Return that all flag files of a folder refuse."""
    path = path_of(folder)
    mount = diagnose.mount_point(path)
    text = f"its file system is mounted noexec ({mount}), so every file in it refuses its port"
    return Trouble(path, 0, text, "sudo " + diagnose.remount(path, "exec"))
