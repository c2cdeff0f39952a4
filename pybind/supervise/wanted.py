# SPDX-License-Identifier: GPL-3.0-or-later
"""Notification -> what the program wants bound.

The program's memory is read once, and only what was read is judged and bound:
another thread may rewrite it meanwhile (docs/hostile.md, case 57).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from .kernel import Notification

_ARCH_I386 = 0x40000003  # AUDIT_ARCH_I386
_NR_SOCKETCALL = 102  # i386 only
_SYS_BIND = 2  # the call of socketcall(2)
_SOCKADDR_IN_LEN, _SIN6_LEN_RFC2133, _SOCKADDR_IN6_LEN = 16, 24, 28
_INT_MASK = 0xFFFFFFFF
_LANDLOCK_RESTRICT_SELF = 446  # in every table
_X32_BIT = 0x40000000


class Wanted(NamedTuple):
    """One bind(2) of an AF_INET or AF_INET6 address.

    fd: the program's descriptor number. addr: 4 or 16 bytes, network byte
    order. port: host byte order, not 0.
    """

    fd: int
    family: int
    addr: bytes
    scope_id: int
    port: int


def restricts_itself(note: Notification) -> bool:
    """Tell whether the call is landlock_restrict_self(2), and no bind."""
    return note.nr & ~_X32_BIT == _LANDLOCK_RESTRICT_SELF


def decode(note: Notification, read: Callable[[int, int], bytes]) -> Wanted | None:
    """Return what a bind wants, or None for what the kernel may decide by itself.

    read: (address, length) -> bytes of the program's memory; it may raise
    OSError, as for an address that the kernel will call EFAULT.
    """
    args = note.args
    if note.arch == _ARCH_I386 and note.nr == _NR_SOCKETCALL:
        if args[0] & _INT_MASK != _SYS_BIND:
            return None
        fd, at, length = struct.unpack("=III", read(args[1] & _INT_MASK, 12))
    else:
        fd, at, length = args[0] & _INT_MASK, args[1], args[2] & _INT_MASK
    if not _SOCKADDR_IN_LEN <= length <= 128:  # sizeof(struct sockaddr_storage): else EINVAL
        return None
    data = read(at, length)  # all of it, as the kernel does before it looks at the family
    (family,) = struct.unpack_from("=H", data)
    (port,) = struct.unpack_from("!H", data, 2)
    if port == 0:
        return None
    if family == socket.AF_INET and len(data) >= _SOCKADDR_IN_LEN:
        return Wanted(fd, family, data[4:8], 0, port)
    if family == socket.AF_INET6 and len(data) >= _SIN6_LEN_RFC2133:
        scope = struct.unpack_from("=I", data, 24)[0] if len(data) >= _SOCKADDR_IN6_LEN else 0
        return Wanted(fd, family, data[8:24], scope, port)
    return None
