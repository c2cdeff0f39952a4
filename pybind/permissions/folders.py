# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders on the way to the permission files: which of them make the helper refuse.

trust.folder_faults() describes what each folder must be; helpers/helper/rules.c,
open_config(), refuses everything otherwise. The helper opens files with its caller's
rights, so each caller must be able to search the folders.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import NamedTuple

from .. import diagnose
from ..paths import CONFIG_DIR, FOLDERS
from ..repairs import SETUP, put_aside, sudo
from ..trust import NO_FOLDER, UNSAFE, chain, changeable, folder_faults
from .access import Access, X, access_of, permits

PARENTS = tuple(chain(CONFIG_DIR))
OVERFLOW_ID = 65534  # the owner that root's files seem to have in a user namespace


class Trouble(NamedTuple):
    """A file or folder for which the helper refuses.

    name: below CONFIG_DIR, or an absolute path. line: of a rule file, else 0. text: the
    reason. repair: the command that an administrator types, or "" if there is none.
    """

    name: str
    line: int
    text: str
    repair: str

    @property
    def where(self) -> str:
        """The path and the line, for people."""
        return path_of(self.name) + (f" line {self.line}" if self.line else "")


def path_of(name: str) -> str:
    """Return the absolute path of a name below CONFIG_DIR; an absolute path stays."""
    return name if name.startswith("/") else f"{CONFIG_DIR}/{name}"


def owner_and_mode(status: os.stat_result) -> str:
    """Return owner and mode for people: owner 0, mode 0644."""
    return f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"


def broken() -> list[Trouble]:
    """Return the folders, from / down to the four, that make the helper refuse everything."""
    troubles = []
    for path in (*PARENTS, *map(path_of, FOLDERS)):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if path == CONFIG_DIR:
                troubles.append(Trouble(path, 0, "does not exist", SETUP))
            continue
        except OSError:  # a folder above is no directory, and in the list already
            continue
        if status.st_uid == OVERFLOW_ID and diagnose.in_user_namespace():
            return [Trouble(path, 0, diagnose.user_namespace()[0], "")]
        trouble = _unfit(path, status)
        if trouble:
            troubles.append(trouble)
    return troubles


def _unfit(path: str, status: os.stat_result) -> Trouble | None:
    below = path.startswith(CONFIG_DIR)
    if stat.S_ISLNK(status.st_mode) and _is_roots(path):
        # The copy keeps owners and access control lists, so that no grant is lost.
        new, old = path + ".new", path + ".link"
        repair = sudo(("cp", "-a", path + "/.", new), ("mv", path, old), ("mv", new, path))
        return Trouble(path, 0, "is a symbolic link, and must be a directory", repair)
    faults = folder_faults(status)
    if NO_FOLDER in faults:
        repair = f"{put_aside(path)} && {SETUP}" if below else ""
        kind = "a symbolic link, and must be" if stat.S_ISLNK(status.st_mode) else "not"
        return Trouble(path, 0, f"is {kind} a directory", repair)
    if UNSAFE not in faults:
        return None
    repair = SETUP if below else sudo(("chown", "root:root", path), ("chmod", "go-w", path))
    text = f"others than root can write it ({owner_and_mode(status)})"
    return Trouble(path, 0, text, repair)


def _is_roots(path: str) -> bool:
    """Tell whether a link leads to a directory that nobody but root can write or replace."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode) and changeable(path) is None
    except OSError:
        return False


def closed() -> list[tuple[str, str, Access]]:
    """Return the folders that some users cannot search: (folder, path, access).

    folder: one of FOLDERS, or "" for a folder above them.
    """
    result = []
    for folder, path in (*(("", path) for path in PARENTS), *zip(FOLDERS, map(path_of, FOLDERS))):
        try:
            access = access_of(path)
        except OSError:
            continue
        if not all(perm & X for perm in access.effective().values()):
            result.append((folder, path, access))
    return result


def unsearchable(
    uid: int, gids: set[int], among: list[tuple[str, str, Access]] | None = None
) -> tuple[str, Trouble] | None:
    """Return the first folder that this user cannot search, and the Trouble; or None.

    The helper refuses when it comes to that folder: one of FOLDERS, or "" for one above
    them. among: the result of closed(), to ask about many users at once.
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
        # chmod(2) leaves the entries, and would give the group what only they were given.
        if shutil.which("setfacl"):
            return sudo(("setfacl", "-b", path), ("chmod", "a+x", path))
        remove = f"import os; os.removexattr({path!r}, 'system.posix_acl_access')"
        return sudo(("python3", "-c", remove), ("chmod", "a+x,g-w", path))
    return sudo(("chmod", "a+x", path))


def noexec(folder: str) -> bool:
    """Tell whether a folder is mounted noexec: then every flag file in it refuses."""
    return bool(diagnose.mount_flags(path_of(folder)) & os.ST_NOEXEC)


def on_noexec(folder: str) -> Trouble:
    """Return the Trouble of a folder that is mounted noexec."""
    path = path_of(folder)
    mount = diagnose.mount_point(path)
    text = f"its file system is mounted noexec ({mount}), so every file in it refuses its port"
    return Trouble(path, 0, text, "sudo " + diagnose.remount(path, "exec"))
