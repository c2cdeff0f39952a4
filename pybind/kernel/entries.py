# SPDX-License-Identifier: GPL-3.0-or-later
"""One permission file -> Item, its part of the table.

An Item is exact, or LEFT. A file is LEFT if the table cannot hold it just as the helper
would find it. The kernel then grants nothing by that file, and leaves the bind to the
helper.
"""

from __future__ import annotations

import functools
import os
import socket
import stat
from typing import NamedTuple, Union

from ..paths import CONFIG_DIR
from ..permissions.access import (
    GROUP_OBJ,
    MASK,
    NAMED_GROUP,
    NAMED_USER,
    OTHER,
    USER_OBJ,
    Access,
    read_access,
)
from ..permissions.names import Flag, Owner
from ..permissions.precedence import in_force
from ..permissions.reading import FILE_SIZE_MAX
from ..permissions.rule import ANY, Broken, address_name, parse_line
from ..trust import others_can_write
from . import layout

LINES_MAX = 10_000  # of one file: each bind of its user looks at all of them
_PORT_MAX_AT = 5  # of an unpacked LINE

Named = Union[Flag, Owner]


class Item(NamedTuple):
    """The part of the table that one file makes; helpers/kernel/table.h has the structs.

    name: below CONFIG_DIR.
    key: packed NAME.
    rank: of two files with the same key, the helper finds the one with the lower rank.
    state: JUDGED, REFUSES or LEFT.
    why: the reason for REFUSES or LEFT.
    uid, gid: owner and group of the file.
    permissions: (owner, group, others, unanimous, users) of struct file.
    entries, lines: packed ENTRYs and LINEs.
    ports: one more than the highest port of the file.
    """

    name: str
    key: bytes
    rank: int
    state: int
    why: str = ""
    uid: int = 0
    gid: int = 0
    permissions: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    entries: bytes = b""
    lines: bytes = b""
    ports: int = 0


def key_of(named: Named) -> tuple[bytes, int]:
    """Return the packed NAME of a file and its rank."""
    if isinstance(named, Owner):
        folder = layout.FOLDER_NUMBERS[named.folder]
        return layout.NAME.pack(0, 0, named.ident, folder, 0, 0, named.reserved), 0
    rule = named.rule
    protocol, reserved = layout.PROTOCOLS[rule.protocol], 512 <= rule.port_min <= 1023
    if rule.family == ANY:
        return layout.NAME.pack(0, 0, rule.port_min, layout.BYPORT, 0, protocol, reserved), 0
    version = _version(rule.family)
    key = layout.NAME.pack(
        *layout.halves(rule.addr_min), rule.port_min, layout.BYADDR, version, protocol, reserved
    )
    # IPv4 with ':' before ',', IPv6 short before long.
    first = ":" if version == 4 else address_name(rule.addr_min) + ","
    return key, 0 if first in named.name else 1


def _version(family: int) -> int:
    return {int(socket.AF_INET): 4, int(socket.AF_INET6): 6}.get(family, 0)


def left(named: Named, why: str) -> Item:
    """Return the Item of a file that is left to the helper."""
    return Item(named.name, *key_of(named), layout.LEFT, why)


def read_item(named: Named, noexec: bool) -> Item | None:
    """Read one file; None if it does not exist.

    noexec: its folder is mounted noexec. Never raises OSError: a file that cannot be read
    is LEFT.
    """
    try:
        return _read_flag(named, noexec) if isinstance(named, Flag) else _read_rules(named)
    except FileNotFoundError:
        return None
    except OSError as error:
        return left(named, os.strerror(error.errno or 0))


def _read_flag(flag: Flag, noexec: bool) -> Item:
    path = f"{CONFIG_DIR}/{flag.name}"
    status = os.lstat(path)
    refuses = functools.partial(Item, flag.name, *key_of(flag), layout.REFUSES)
    if not stat.S_ISREG(status.st_mode):
        return refuses("is not a regular file")
    if noexec:
        return refuses("is on a file system mounted noexec")
    if status.st_nlink != 1:
        return left(flag, f"has {status.st_nlink} hard links")
    access = read_access(path)
    if access is None:  # replaced since lstat(2)
        return refuses("is not a regular file")
    return _judged(flag, access)


def _read_rules(owner: Owner) -> Item:
    path = f"{CONFIG_DIR}/{owner.name}"
    refuses = functools.partial(Item, owner.name, *key_of(owner), layout.REFUSES)
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return refuses("is not a regular file")
    if others_can_write(status):
        return refuses("is not safely root's")
    if status.st_nlink != 1:
        return left(owner, f"has {status.st_nlink} hard links")
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if os.fstat(fd)[:3] != status[:3]:  # mode, inode, device
            return left(owner, "was replaced while it was read")
        access = read_access(fd)
        with open(fd, "rb", buffering=0, closefd=False) as file:
            data = _read(file.fileno())
    finally:
        os.close(fd)
    if access is None:
        return refuses("is not a regular file")
    if len(data) > FILE_SIZE_MAX:
        return refuses("is larger than 1 MiB")
    return _with_lines(owner, _judged(owner, access), data)


def _read(fd: int) -> bytes:
    chunks = []
    size = 0
    while size <= FILE_SIZE_MAX and (chunk := os.read(fd, FILE_SIZE_MAX + 1 - size)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def _judged(named: Named, access: Access) -> Item:
    """Return the Item of a file whose owner, mode and access control list decide."""
    by_key = {(tag, ident): perm for tag, ident, perm in access.entries}
    by_tag = {tag: perm for (tag, _), perm in by_key.items()}
    named_entries = [(tag, ident) for tag, ident in by_key if tag in (NAMED_USER, NAMED_GROUP)]
    mask = by_tag.get(MASK, 7)
    if named_entries and MASK not in by_tag:
        return left(named, "has an access control list without a mask")
    owner, group, others = by_tag[USER_OBJ], by_tag[GROUP_OBJ] & mask, by_tag[OTHER]
    if not mask:
        # With an empty mask the kernel ignores the list, and judges named users like
        # anybody else (fs/namei.c, acl_permission_check()).
        named_entries = []
    unanimous = owner & group & others
    users = 7
    packed = []
    for tag, ident in named_entries:
        permissions = by_key[tag, ident] & mask
        unanimous &= permissions
        if tag == NAMED_USER:
            users &= permissions
        packed.append(layout.ENTRY.pack(ident, tag == NAMED_GROUP, permissions))
    return Item(
        named.name,
        *key_of(named),
        layout.JUDGED,
        "",
        access.uid,
        access.gid,
        (owner, group, others, unanimous, users),
        b"".join(packed),
        ports=named.rule.port_max + 1 if isinstance(named, Flag) else 0,
    )


def _with_lines(owner: Owner, item: Item, data: bytes) -> Item:
    """Return the Item with the lines of its rule file. data: the whole contents."""
    if item.state != layout.JUDGED:
        return item
    raws = data.split(b"\n")
    if not raws[-1]:
        raws.pop()
    packed = []
    for number, raw in enumerate(raws, 1):
        line = _packed(raw, owner.reserved)
        if line is None:
            return item._replace(state=layout.REFUSES, why=f"line {number} is broken", entries=b"")
        packed.append(line)
    lines = b"".join(packed)
    if len(lines) > LINES_MAX * layout.LINE.size:
        return left(owner, f"has more than {LINES_MAX} rules")
    ports = max((line[_PORT_MAX_AT] for line in layout.LINE.iter_unpack(lines)), default=-1)
    return item._replace(lines=lines, ports=ports + 1)


@functools.lru_cache(maxsize=1 << 16)
def _packed(raw: bytes, reserved: bool) -> bytes | None:
    """Return the packed LINEs of a line; None if it is broken. reserved: of its file."""
    rule = parse_line(raw)
    if isinstance(rule, Broken):
        return None
    if rule is None:
        return b""
    return b"".join(
        layout.LINE.pack(
            *layout.halves(part.addr_min),
            *layout.halves(part.addr_max),
            part.port_min,
            part.port_max,
            _version(part.family),
            layout.PROTOCOLS[part.protocol],
        )
        for part in in_force(rule, reserved)
    )
