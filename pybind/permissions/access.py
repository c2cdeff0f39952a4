# SPDX-License-Identifier: GPL-3.0-or-later
"""Owner, mode and access control list of a flag file: acl(5) without setfacl.

What is written here changes the execute permission of one user, group or of
all others, and nobody else's. Who is granted what is the helper's to say.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from typing import NamedTuple

from .who import EVERYONE, GROUP, USER, Who, everyone, group_of, identity_for, user_of

# linux/posix_acl_xattr.h: a little-endian version, then entries sorted by tag and id.
_VERSION, _ENTRY, NO_ID = struct.pack("<I", 2), struct.Struct("<HHI"), 0xFFFFFFFF
USER_OBJ, NAMED_USER, GROUP_OBJ, NAMED_GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32  # tags
R, W, X = 4, 2, 1  # permission bits
NAMED = {NAMED_USER: "user", NAMED_GROUP: "group"}
ACL_NAME = "system.posix_acl_access"
_OF_CONTENTS = ("security.ima", "security.evm")


class Access(NamedTuple):
    """Who may use a flag file.

    uid, gid: its owner and group. entries: (tag, id, permissions) sorted as in
    acl(5); three of them where there is only a mode.
    """

    uid: int
    gid: int
    entries: tuple[tuple[int, int, int], ...]

    @property
    def mode(self) -> int:
        """Return the permission bits that stat(2) shows: the mask stands for the group."""
        found = self._found()
        middle = found.get((MASK, NO_ID), found[GROUP_OBJ, NO_ID])
        return found[USER_OBJ, NO_ID] << 6 | middle << 3 | found[OTHER, NO_ID]

    @property
    def extended(self) -> bool:
        """Tell whether there is more than a mode."""
        return len(self.entries) > 3

    @property
    def text(self) -> str:
        """Return it with numbers: mode 0750 owner 0 group 33 user:1000:--x."""
        return self._text(lambda _: "")

    @property
    def described(self) -> str:
        """Return it for people: mode 0750 owner 0 group 33 (www-data) user:1000 (alice):--x."""
        return self._text(
            lambda who: "" if who.ident == 0 or who.name == str(who.ident) else f" ({who.name})"
        )

    def _text(self, name: Callable[[Who], str]) -> str:
        owner, group = name(user_of(self.uid)), name(group_of(self.gid))
        words = [f"mode {self.mode:04o} owner {self.uid}{owner} group {self.gid}{group}"]
        for tag, ident, perm in self.entries:
            if tag in NAMED:
                bits = "".join(c if perm & b else "-" for c, b in (("r", 4), ("w", 2), ("x", 1)))
                who = user_of(ident) if tag == NAMED_USER else group_of(ident)
                words.append(f"{NAMED[tag]}:{ident}{name(who)}:{bits}")
        return " ".join(words)

    def _found(self) -> dict[tuple[int, int], int]:
        return {(tag, ident): perm for tag, ident, perm in self.entries}

    def effective(self) -> dict[tuple[int, int], int]:
        """Return (tag, id) -> permissions, the mask applied.

        An entry for the file's own group is part of what the group has: acl(5)
        grants a group what any of its entries has.
        """
        found = self._found()
        mask = found.get((MASK, NO_ID), 7)
        masked = (NAMED_USER, GROUP_OBJ, NAMED_GROUP)
        found = {key: perm & mask if key[0] in masked else perm for key, perm in found.items()}
        found[GROUP_OBJ, NO_ID] |= found.pop((NAMED_GROUP, self.gid), 0)
        return found


def from_mode(mode: int, uid: int = 0, gid: int = 0) -> Access:
    """Return the access of a file that has only a mode."""
    bits = ((USER_OBJ, mode >> 6), (GROUP_OBJ, mode >> 3), (OTHER, mode))
    return Access(uid, gid, tuple((tag, NO_ID, perm & 7) for tag, perm in bits))


def read_access(path: str | int) -> Access | None:
    """Return a flag file's access; None where the file is of no kind that can grant.

    path: also a descriptor that is open for reading or writing. Raises OSError.
    """
    opened = isinstance(path, int)
    if not stat.S_ISREG(os.stat(path, follow_symlinks=opened).st_mode):
        return None
    return access_of(path)


def access_of(path: str | int) -> Access:
    """Return the access of a file of any kind, a folder too. Raises OSError."""
    opened = isinstance(path, int) or path.startswith("/proc/self/fd/")
    status = os.stat(path, follow_symlinks=opened)
    try:
        data = os.getxattr(path, ACL_NAME, follow_symlinks=opened)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return from_mode(status.st_mode, status.st_uid, status.st_gid)
    entries = tuple(
        (tag, ident, perm) for tag, perm, ident in _ENTRY.iter_unpack(data[len(_VERSION) :])
    )
    return Access(status.st_uid, status.st_gid, entries)


def write_access(path: str, old: Access, new: Access) -> None:
    """Change a flag file's mode, list, owner or group. Raises OSError.

    One system call, or two where the owner or group changes and entries too:
    between them the file lets in nobody whom neither old nor new lets in.
    """
    # One descriptor of the file itself: a name could become a link in between. chmod(2) takes no
    # O_PATH descriptor but by its link in /proc.
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise OSError("is no longer a regular file with one name: look what was put there")
        here = f"/proc/self/fd/{fd}"
        if (old.uid, old.gid) != (new.uid, new.gid):
            os.chown(here, new.uid, new.gid)
        if old.entries != new.entries:
            if old.extended or new.extended:
                os.setxattr(here, ACL_NAME, _list_of(new))
            else:
                os.chmod(here, new.mode)
        _check_kept(here, new)
    finally:
        os.close(fd)


def give_access(fd: int, access: Access) -> None:
    """Give a new file, which nobody can see yet, its owner, group and mode or list.

    A default access control list of its folder has given it a list of its own
    (acl(5), OBJECT CREATION), and chmod(2) would widen that: it goes first.
    Raises OSError.
    """
    os.fchown(fd, access.uid, access.gid)
    if access.extended:
        os.setxattr(fd, ACL_NAME, _list_of(access))
    else:
        _remove_list(fd)
        os.fchmod(fd, access.mode)
    _check_kept(fd, access)


def give_folder(fd: int, access: Access) -> None:
    """Give a folder its owner, group and mode, and no list. Raises OSError."""
    os.fchown(fd, access.uid, access.gid)
    _remove_list(fd)
    os.fchmod(fd, access.mode)


def _remove_list(fd: int) -> None:
    try:
        os.removexattr(fd, ACL_NAME)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise


def copy_attributes(path: str, fd: int) -> None:
    """Give a new file what the one at `path` has: owner, group, mode, list, extended attributes.

    Raises OSError. Left out is what speaks of the contents (IMA, EVM); a label
    that a security module keeps to itself stays as it made it.
    """
    give_access(fd, access_of(path))
    os.fchmod(fd, stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode))
    for name in os.listxattr(path, follow_symlinks=False):
        if name == ACL_NAME or name in _OF_CONTENTS:
            continue
        try:
            os.setxattr(fd, name, os.getxattr(path, name, follow_symlinks=False))
        except OSError:
            if not name.startswith("security."):
                raise


def _check_kept(path: str | int, planned: Access) -> None:
    """Raise OSError where a file is not as planned: some file systems keep no modes."""
    found = access_of(path)
    if found != planned:
        raise OSError(f"is not as it was written: planned {planned.text}, found {found.text}")


def _list_of(access: Access) -> bytes:
    return _VERSION + b"".join(_ENTRY.pack(tag, perm, at) for tag, at, perm in access.entries)


def allows(access: Access, who: Who) -> bool:
    """Tell whether `who` needs no entry: he has one, or has what all others have."""
    found = access.effective()
    own = _own_key(access, who)
    if own in found:
        return bool(found[own] & X)
    if who.kind == USER:
        identity = identity_for(who)
        groups = {identity.gid, *identity.groups}
        matching = [
            perm
            for (tag, ident), perm in found.items()
            if (tag == NAMED_GROUP and ident in groups)
            or (tag == GROUP_OBJ and access.gid in groups)
        ]
        if matching and not any(perm & X for perm in matching):
            return False
    return bool(found[OTHER, NO_ID] & X)


def permits(access: Access, uid: int, gids: set[int], bit: int) -> bool:
    """Return what access(2) says to a process of this user and these groups (acl(5))."""
    found = access.effective()
    if uid == access.uid:
        return _has(found, USER_OBJ, bit)
    for (tag, ident), perm in found.items():
        if tag == NAMED_USER and ident == uid:
            return bool(perm & bit)
    classes = [
        perm
        for (tag, ident), perm in found.items()
        if (tag == NAMED_GROUP and ident in gids) or (tag == GROUP_OBJ and access.gid in gids)
    ]
    if classes:
        return any(perm & bit for perm in classes)
    return _has(found, OTHER, bit)


def _has(found: dict[tuple[int, int], int], tag: int, bit: int) -> bool:
    return any(perm & bit for (other, _), perm in found.items() if other == tag)


def holds(access: Access, who: Who) -> bool:
    """Tell whether `who` himself has execute permission: not as one of a group or of all.

    Root has none as the owner of a file: that is how files are made.
    """
    own = _own_key(access, who)
    if own[0] in (USER_OBJ, GROUP_OBJ) and who.ident == 0:
        return False
    return bool(access.effective().get(own, 0) & X)


def only_everyones(access: Access) -> bool:
    """Tell whether the file is as a grant to everyone makes it, and goes with that grant."""
    return access == from_mode(0o755)


def owned_by(access: Access, who: Who) -> bool:
    """Tell whether `who` owns the file, and so could change its mode."""
    return who.kind == USER and who.ident == access.uid


def named(access: Access) -> list[Who]:
    """Return all whom the file speaks of: everyone, its owner, its group and its entries."""
    users = [access.uid, *(ident for tag, ident, _ in access.entries if tag == NAMED_USER)]
    groups = [access.gid, *(ident for tag, ident, _ in access.entries if tag == NAMED_GROUP)]
    return list(dict.fromkeys([everyone(), *map(user_of, users), *map(group_of, groups)]))


def holders(access: Access) -> list[Who]:
    """Return all but root for whom holds() is true."""
    return [who for who in named(access) if holds(access, who)]


def as_roots(access: Access) -> Access:
    """Return the same permissions for a file that is root's: its owner becomes an entry.

    The new owner may do what is useless without root's other rights.
    """
    found = access.effective()
    if access.uid != 0:
        found[NAMED_USER, access.uid] = found[USER_OBJ, NO_ID]
    found = {key: perm & ~W for key, perm in found.items() if key[0] != MASK}
    found[USER_OBJ, NO_ID] = 7 if any(perm & X for perm in found.values()) else 6
    return with_permissions(access._replace(uid=0), found)


def with_grant(access: Access, who: Who) -> Access:
    """Return the access with execute permission for `who`, and for nobody else."""
    found = access.effective()  # what the mask held back stays away when the mask grows
    key = _own_key(access, who)
    found[key] = found.get(key, 0) | X
    return with_permissions(access, found)


def without_grant(access: Access, who: Who) -> Access | None:
    """Return the access without what `who` himself was granted; None for no file at all.

    A named entry goes as a whole: one without x would refuse what others have.
    For the same reason the file's group changes where all others have it.
    """
    found = access.effective()
    key = _own_key(access, who)
    if key[0] in NAMED:
        del found[key]
    elif who.kind == EVERYONE and only_everyones(access):
        return None  # left there, it would refuse what rule files grant
    elif key[0] == GROUP_OBJ and found[OTHER, NO_ID] & X:
        return access._replace(gid=0)
    else:
        found[key] &= ~X
    return with_permissions(access, found)


def _own_key(access: Access, who: Who) -> tuple[int, int]:
    if who.kind == EVERYONE:
        return OTHER, NO_ID
    if who.kind == GROUP:
        return (GROUP_OBJ, NO_ID) if who.ident == access.gid else (NAMED_GROUP, who.ident)
    return (USER_OBJ, NO_ID) if who.ident == access.uid else (NAMED_USER, who.ident)


def with_permissions(access: Access, found: dict[tuple[int, int], int]) -> Access:
    """Return the access with these (tag, id) -> permissions, its mask made anew as by setfacl(1)."""
    found.pop((MASK, NO_ID), None)
    if any(tag in NAMED for tag, _ in found):
        mask = 0
        for (tag, _), perm in found.items():
            mask |= perm if tag in (NAMED_USER, GROUP_OBJ, NAMED_GROUP) else 0
        # With an empty mask the kernel does not look at the list at all
        # (acl_permission_check() in fs/namei.c goes by the group bits), and an
        # entry that refuses one user would give way to what all others have.
        found[MASK, NO_ID] = mask or R
    return access._replace(entries=tuple((*key, perm) for key, perm in sorted(found.items())))
