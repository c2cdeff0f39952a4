# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders on the way to the permission files, as the table needs them.

trust.folder_faults() describes what each folder must be. The helper looks at the folders
at each bind, with its caller's rights. The table has one answer for all callers. So if
callers may find a folder different, everything is left to the helper.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from .. import mountinfo
from ..mountinfo import Mount
from ..paths import CONFIG_DIR, FOLDERS
from ..trust import CLOSED, NO_FOLDER, UNSAFE, chain, folder_faults

# File systems where only owner, mode and access control list decide who may open a file,
# and which no other machine can change.
KNOWN_FILE_SYSTEMS = frozenset(
    "bcachefs btrfs erofs ext2 ext3 ext4 f2fs overlay ramfs rootfs squashfs tmpfs xfs zfs".split()
)
_ACL = "system.posix_acl_access"


class Folders(NamedTuple):
    """The state of the folders, for all files at once.

    refuses: why the helper refuses everything, or None.
    left: why everything is left to the helper, or None.
    noexec: those of FOLDERS that are mounted noexec.
    mounted: names below CONFIG_DIR that are mount points.
    """

    refuses: str | None
    left: str | None
    noexec: frozenset[str]
    mounted: frozenset[str]


def read_mounts(path: str = mountinfo.OWN) -> dict[int, Mount]:
    """Return what is mounted in a process's mount namespace, by mount id. Raises OSError."""
    return {mount.ident: mount for mount in mountinfo.read(path)}


def read_folders() -> Folders:
    """Look at all folders. Raises OSError only for /proc."""
    mounts = read_mounts()
    refuses: list[str] = []
    left: list[str] = []
    noexec = set()
    for path in [*chain(CONFIG_DIR), *(f"{CONFIG_DIR}/{folder}" for folder in FOLDERS)]:
        below = path.startswith(CONFIG_DIR + "/")
        if _look_or_note(path, mounts, refuses, left) and below:
            noexec.add(path.rpartition("/")[2])
    prefixes = tuple(f"{CONFIG_DIR}/{folder}/" for folder in FOLDERS)
    mounted = {
        mount.path[len(CONFIG_DIR) + 1 :]
        for mount in mounts.values()
        if mount.path.startswith(prefixes)
    }
    return Folders(
        refuses[0] if refuses else None,
        left[0] if left else None,
        frozenset(noexec),
        frozenset(mounted),
    )


def _look_or_note(path: str, mounts: dict[int, Mount], refuses: list[str], left: list[str]) -> bool:
    try:
        return _look(path, mounts, refuses, left)
    except FileNotFoundError:
        if not path.startswith(CONFIG_DIR + "/"):  # one of the four counts as empty
            refuses.append(f"{path} does not exist")
    except OSError as error:
        refuses.append(f"{path}: {os.strerror(error.errno or 0)}")
    return False


def _look(path: str, mounts: dict[int, Mount], refuses: list[str], left: list[str]) -> bool:
    """Look at one folder, add its faults to the lists; return whether it is mounted noexec."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        faults = folder_faults(status)
        if NO_FOLDER in faults:
            refuses.append(f"{path} is not a directory")
            return False
        mode = f"{status.st_mode & 0o7777:04o}"
        if UNSAFE in faults:
            refuses.append(f"{path} is not safely root's (owner {status.st_uid}, mode {mode})")
        if CLOSED in faults:
            left.append(f"{path} cannot be searched by everybody (mode {mode})")
        if _has_list(path):
            left.append(f"{path} has an access control list")
        mount = mounts.get(_mount_id(fd))
        if mount is None:
            left.append(f"{path}: its mount is not in {mountinfo.OWN}")
        elif mount.kind not in KNOWN_FILE_SYSTEMS:
            left.append(f"{path} is on {mount.kind}, where modes may not be all that counts")
        elif "idmapped" in mount.options:
            left.append(f"{path} is on an id-mapped mount")
        return bool(os.fstatvfs(fd).f_flag & os.ST_NOEXEC)
    finally:
        os.close(fd)


def _has_list(path: str) -> bool:
    try:
        os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
    return True


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    return -1
