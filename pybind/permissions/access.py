# SPDX-License-Identifier: GPL-3.0-or-later
"""Owner, mode and access control list of a flag file: acl(5) without setfacl.

Each change concerns the execute permission of one user, of one group, or of all others,
and of nobody else. Only the helper decides who is granted a port.
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
    """Who may read, write and execute a file.

    uid, gid: owner and group of the file. entries: (tag, id, permissions), sorted as in
    acl(5); a file with only a mode has three.
    """

    uid: int
    gid: int
    entries: tuple[tuple[int, int, int], ...]

    @property
    def mode(self) -> int:
        """Return the permission bits that stat(2) shows; a mask stands for the group."""
        by_key = self._by_key()
        middle = by_key.get((MASK, NO_ID), by_key[GROUP_OBJ, NO_ID])
        return by_key[USER_OBJ, NO_ID] << 6 | middle << 3 | by_key[OTHER, NO_ID]

    @property
    def extended(self) -> bool:
        """Tell whether the file has an access control list beyond its mode."""
        return len(self.entries) > 3

    @property
    def text(self) -> str:
        """Return the access with numbers: mode 0750 owner 0 group 33 user:1000:--x."""
        return self._text(lambda _: "")

    @property
    def described(self) -> str:
        """Return the access with names: mode 0750 owner 0 group 33 (www-data) user:1000 (alice):--x."""
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

    def _by_key(self) -> dict[tuple[int, int], int]:
        return {(tag, ident): perm for tag, ident, perm in self.entries}

    def effective(self) -> dict[tuple[int, int], int]:
        """Return (tag, id) -> permissions, after the mask.

        A named entry for the file's own group is merged into that of the group: acl(5)
        grants a group the permissions of any of its entries.
        """
        by_key = self._by_key()
        mask = by_key.get((MASK, NO_ID), 7)
        masked = (NAMED_USER, GROUP_OBJ, NAMED_GROUP)
        by_key = {key: perm & mask if key[0] in masked else perm for key, perm in by_key.items()}
        by_key[GROUP_OBJ, NO_ID] |= by_key.pop((NAMED_GROUP, self.gid), 0)
        return by_key


def from_mode(mode: int, uid: int = 0, gid: int = 0) -> Access:
    """Return the access of a file that has only a mode."""
    bits = ((USER_OBJ, mode >> 6), (GROUP_OBJ, mode >> 3), (OTHER, mode))
    return Access(uid, gid, tuple((tag, NO_ID, perm & 7) for tag, perm in bits))


def read_access(path: str | int) -> Access | None:
    """Return a flag file's access; None for a file that is not a regular file.

    path: or a descriptor (borrowed), open for reading or writing. Raises OSError.
    """
    opened = isinstance(path, int)
    if not stat.S_ISREG(os.stat(path, follow_symlinks=opened).st_mode):
        return None
    return access_of(path)


def access_of(path: str | int) -> Access:
    """Return the access of a file or folder of any kind. Raises OSError."""
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
    """Change a flag file's mode, access control list, owner or group. Raises OSError.

    This is one system call, or two if the owner or group changes and entries too.
    Between the two, the file keeps out everybody whom both old and new keep out.
    """
    # A descriptor, because the name could become a link between the calls. chmod(2) takes
    # an O_PATH descriptor only as a path in /proc.
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
    """Give a new file its owner, group and mode or list, before it has its final name.

    fd: borrowed. A default access control list of the folder may have given the file a
    list (acl(5), OBJECT CREATION). chmod(2) would widen that list, so it is removed
    first. Raises OSError.
    """
    os.fchown(fd, access.uid, access.gid)
    if access.extended:
        os.setxattr(fd, ACL_NAME, _list_of(access))
    else:
        _remove_list(fd)
        os.fchmod(fd, access.mode)
    _check_kept(fd, access)


def give_folder(fd: int, access: Access) -> None:
    """Give a folder (fd: borrowed) its owner, group and mode, and no list. Raises OSError."""
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
    """Give a new file owner, group, mode, list and extended attributes of the one at `path`.

    fd: of the new file (borrowed). Attributes that depend on the contents (IMA, EVM) are
    left out. Where a security module forbids to set its label, the file keeps the label
    that the module has given it. Raises OSError.
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
    """Raise OSError if the access is not as planned: some file systems keep no modes."""
    actual = access_of(path)
    if actual != planned:
        raise OSError(f"is not as it was written: planned {planned.text}, found {actual.text}")


def _list_of(access: Access) -> bytes:
    return _VERSION + b"".join(_ENTRY.pack(tag, perm, at) for tag, at, perm in access.entries)


def allows(access: Access, who: Who) -> bool:
    """Tell whether `who` can execute the file, by an entry of their own or as others can."""
    by_key = access.effective()
    own = _own_key(access, who)
    if own in by_key:
        return bool(by_key[own] & X)
    if who.kind == USER:
        identity = identity_for(who)
        groups = {identity.gid, *identity.groups}
        matching = [
            perm
            for (tag, ident), perm in by_key.items()
            if (tag == NAMED_GROUP and ident in groups)
            or (tag == GROUP_OBJ and access.gid in groups)
        ]
        if matching and not any(perm & X for perm in matching):
            return False
    return bool(by_key[OTHER, NO_ID] & X)


def permits(access: Access, uid: int, gids: set[int], bit: int) -> bool:
    """Tell whether access(2) permits a process of this user and these groups (acl(5)).

    bit: R, W or X.
    """
    by_key = access.effective()
    if uid == access.uid:
        return _has(by_key, USER_OBJ, bit)
    for (tag, ident), perm in by_key.items():
        if tag == NAMED_USER and ident == uid:
            return bool(perm & bit)
    classes = [
        perm
        for (tag, ident), perm in by_key.items()
        if (tag == NAMED_GROUP and ident in gids) or (tag == GROUP_OBJ and access.gid in gids)
    ]
    if classes:
        return any(perm & bit for perm in classes)
    return _has(by_key, OTHER, bit)


def _has(by_key: dict[tuple[int, int], int], tag: int, bit: int) -> bool:
    return any(perm & bit for (other, _), perm in by_key.items() if other == tag)


def holds(access: Access, who: Who) -> bool:
    """Tell whether an entry for `who` itself has execute permission.

    A permission of a user's groups, or of all others, does not count. Nor do those of root
    as owner or group: every new file has them.
    """
    own = _own_key(access, who)
    if own[0] in (USER_OBJ, GROUP_OBJ) and who.ident == 0:
        return False
    return bool(access.effective().get(own, 0) & X)


def only_everyones(access: Access) -> bool:
    """Tell whether the file is just as a grant to everyone made it: no other grant is in it."""
    return access == from_mode(0o755)


def owned_by(access: Access, who: Who) -> bool:
    """Tell whether `who` is the owner, who could change the mode."""
    return who.kind == USER and who.ident == access.uid


def named(access: Access) -> list[Who]:
    """Return everyone, the owner, the group, and the users and groups of the entries."""
    users = [access.uid, *(ident for tag, ident, _ in access.entries if tag == NAMED_USER)]
    groups = [access.gid, *(ident for tag, ident, _ in access.entries if tag == NAMED_GROUP)]
    return list(dict.fromkeys([everyone(), *map(user_of, users), *map(group_of, groups)]))


def holders(access: Access) -> list[Who]:
    """Return those for whom holds() is true."""
    return [who for who in named(access) if holds(access, who)]


def as_roots(access: Access) -> Access:
    """Return an access for a file of root's that permits the same users and groups.

    The old owner becomes a named user. Nobody but root may write the file.
    """
    by_key = access.effective()
    if access.uid != 0:
        by_key[NAMED_USER, access.uid] = by_key[USER_OBJ, NO_ID]
    by_key = {key: perm & ~W for key, perm in by_key.items() if key[0] != MASK}
    by_key[USER_OBJ, NO_ID] = 7 if any(perm & X for perm in by_key.values()) else 6
    return with_permissions(access._replace(uid=0), by_key)


def with_grant(access: Access, who: Who) -> Access:
    """Return the access with execute permission for `who` too, and for nobody else."""
    by_key = access.effective()  # a wider mask must not give others what the old one withheld
    key = _own_key(access, who)
    by_key[key] = by_key.get(key, 0) | X
    return with_permissions(access, by_key)


def without_grant(access: Access, who: Who) -> Access | None:
    """Return the access without the entry that grants `who`; None: remove the file.

    A named entry is removed: an entry without x would refuse what all others may do. For
    the same reason the file gets another group, if all others may execute it.
    """
    by_key = access.effective()
    key = _own_key(access, who)
    if key[0] in NAMED:
        del by_key[key]
    elif who.kind == EVERYONE and only_everyones(access):
        return None  # a file without x would refuse what rule files grant
    elif key[0] == GROUP_OBJ and by_key[OTHER, NO_ID] & X:
        return access._replace(gid=0)
    else:
        by_key[key] &= ~X
    return with_permissions(access, by_key)


def _own_key(access: Access, who: Who) -> tuple[int, int]:
    if who.kind == EVERYONE:
        return OTHER, NO_ID
    if who.kind == GROUP:
        return (GROUP_OBJ, NO_ID) if who.ident == access.gid else (NAMED_GROUP, who.ident)
    return (USER_OBJ, NO_ID) if who.ident == access.uid else (NAMED_USER, who.ident)


def with_permissions(access: Access, by_key: dict[tuple[int, int], int]) -> Access:
    """Return the access with these (tag, id) -> permissions, and a mask as by setfacl(1).

    Changes by_key.
    """
    by_key.pop((MASK, NO_ID), None)
    if any(tag in NAMED for tag, _ in by_key):
        mask = 0
        for (tag, _), perm in by_key.items():
            mask |= perm if tag in (NAMED_USER, GROUP_OBJ, NAMED_GROUP) else 0
        # With an empty mask the kernel ignores the list (acl_permission_check() in
        # fs/namei.c looks at the group bits). An entry that refuses one user would not
        # count, and that user would get what all others have.
        by_key[MASK, NO_ID] = mask or R
    return access._replace(entries=tuple((*key, perm) for key, perm in sorted(by_key.items())))
