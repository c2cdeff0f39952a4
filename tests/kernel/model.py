# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of pybind.5 and pybindd.8 about one request, added to tests/lib/reference.py.

The module adds access control lists, callers in their own user namespace, and files
that the table leaves to the helper. It imports nothing of pybind.
"""

import struct
from typing import Dict, NamedTuple, Tuple

import reference
from reference import EXECUTE, FOLDERS, READ, Caller, Entry, Files

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NO_ID = 0xFFFFFFFF
ACL = "system.posix_acl_access"


class List(NamedTuple):
    """An access control list: named users and groups, the file's group, the mask."""

    users: Dict[int, int]
    groups: Dict[int, int]
    group: int
    mask: int

    def pack(self, mode: int) -> bytes:
        """Return the list as setxattr(2) takes it (linux/posix_acl_xattr.h)."""
        entries = [(USER_OBJ, mode >> 6 & 7, NO_ID)]
        entries += [(USER, perm, uid) for uid, perm in sorted(self.users.items())]
        entries += [(GROUP_OBJ, self.group, NO_ID)]
        entries += [(GROUP, perm, gid) for gid, perm in sorted(self.groups.items())]
        entries += [(MASK, self.mask, NO_ID), (OTHER, mode & 7, NO_ID)]
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


class Listed(Entry):
    """An entry with a list; the group bits of its mode show the mask."""

    acl: List


def listed(entry: Entry, acl: List) -> Listed:
    """Return the entry with this list."""
    made = Listed(*entry._replace(mode=entry.mode & ~0o070 | acl.mask << 3))
    made.acl = acl
    return made


class Foreign(Caller):
    """A caller in a user namespace that is not pybindd's."""


def may(entry: Entry, caller: Caller, right: int) -> bool:
    """Tell whether owner, list and mode of entry give caller the right."""
    acl = getattr(entry, "acl", None)
    groups = {caller.gid, *caller.groups}
    if entry.uid == caller.uid:
        return bool(entry.mode >> 6 & right)
    if acl is not None and acl.mask:  # with an empty mask the kernel ignores the list
        if caller.uid in acl.users:
            return bool(acl.users[caller.uid] & acl.mask & right)
        found = [perm for gid, perm in acl.groups.items() if gid in groups]
        found += [acl.group] if entry.gid in groups else []
        if found:
            # A refused user may come from another namespace under a subordinate id.
            foreign = isinstance(caller, Foreign) and entry.kind == "file"
            users = acl.users.values() if foreign else ()
            nobody_is_refused = all(perm & acl.mask & right for perm in users)
            return nobody_is_refused and any(perm & acl.mask & right for perm in found)
    elif entry.gid in groups:
        return bool(entry.mode >> 3 & right)
    if isinstance(caller, Foreign) and entry.kind == "file":
        return right == READ and _nobody_is_refused(entry, acl, right)
    return bool(entry.mode & right)


def _nobody_is_refused(entry, acl, right) -> bool:
    bits = [entry.mode >> 6, entry.mode >> 3, entry.mode]
    if acl is not None and acl.mask:
        bits += [acl.group & acl.mask]
        bits += [perm & acl.mask for perm in (*acl.users.values(), *acl.groups.values())]
    return all(bit & right for bit in bits)


reference.may = may


def is_left(files: Files) -> bool:
    """Tell whether the table leaves everything to the helper: some cannot search a folder."""
    present = [files[folder] for folder in ("", *FOLDERS) if folder in files]
    return any(not entry.mode >> shift & EXECUTE for entry in present for shift in (0, 3, 6))


def in_kernel(files: Files, left: Tuple[str, ...]) -> Files:
    """Return the files as the table has them: a file that is left to the helper refuses all."""
    return {
        name: entry._replace(kind="left") if name in left else entry
        for name, entry in files.items()
    }
