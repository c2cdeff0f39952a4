# SPDX-License-Identifier: GPL-3.0-or-later
"""Notification -> Wanted, the bind that the program wants; and the socket that it is for.

The supervisor reads the program's memory once, and judges and binds that copy:
another thread of the program may rewrite the memory (docs/hostile.md, case 57).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..model import Address
from .kernel import Notification

_ARCH_I386 = 0x40000003  # AUDIT_ARCH_I386
_NR_SOCKETCALL = 102  # i386 only
_SYS_BIND = 2  # the call of socketcall(2)
_SOCKADDR_IN_LEN, _SIN6_LEN_RFC2133, _SOCKADDR_IN6_LEN = 16, 24, 28
_INT_MASK = 0xFFFFFFFF
_LANDLOCK_RESTRICT_SELF = 446  # the same number on every ABI
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
    """Tell whether the call is landlock_restrict_self(2)."""
    return note.nr & ~_X32_BIT == _LANDLOCK_RESTRICT_SELF


def decode(note: Notification, read: Callable[[int, int], bytes]) -> Wanted | None:
    """Return the wanted bind, or None for a call that the kernel may decide by itself.

    read: (address, length) -> bytes of the program's memory. Raises OSError if read()
    does, as for an address for which the kernel will return EFAULT.
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


@contextlib.contextmanager
def _borrowed(socket_fd: int) -> Iterator[socket.socket]:
    """Use a descriptor (borrowed) as a socket. Raises OSError if it is no socket."""
    sock = socket.socket(fileno=socket_fd)
    try:
        yield sock
    finally:
        sock.detach()


def address_of(socket_fd: int, wanted: Wanted) -> Address:
    """Return the wanted address with the protocol of the socket (borrowed); raises OSError."""
    with _borrowed(socket_fd) as sock:
        protocol = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    udp = protocol == socket.IPPROTO_UDP
    return Address(wanted.family, wanted.addr, wanted.scope_id, wanted.port, udp)


def is_bound(socket_fd: int, address: Address) -> bool:
    """Tell whether the socket (borrowed, of any family) is bound to this address.

    Asked when a helper died without a reply.
    """
    try:
        with _borrowed(socket_fd) as sock:
            if sock.family != address.family:
                return False
            host, port, *_ = sock.getsockname()
        host = host.partition("%")[0]  # a link-local address has its interface behind it
        return bool(port == address.port and socket.inet_pton(address.family, host) == address.addr)
    except OSError:
        return False
