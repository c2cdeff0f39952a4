# SPDX-License-Identifier: GPL-3.0-or-later
"""The two reported system calls: bind(2) -> Wanted, landlock_restrict_self(2) -> Sandboxes.

The supervisor reads the program's memory once, and judges and binds that copy:
another thread of the program may rewrite the memory (docs/hostile.md, case 57).

A process that may be in a Landlock domain (landlock(7)) is not served: its domain may
forbid it to bind, and the helper is outside of the domain. The kernel does not tell who
is in a domain. A process's ancestors do not tell it either, because CLONE_PARENT and
subreapers hide them. So after the first landlock_restrict_self(2) of the tree, a process is
served only if it is older than that call and did not restrict itself.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..model import Address
from .kernel import Notification, process_of

_ARCH_I386 = 0x40000003  # AUDIT_ARCH_I386
_NR_SOCKETCALL = 102  # i386 only
_SYS_BIND = 2  # the call of socketcall(2)
_SOCKADDR_IN_LEN, _SIN6_LEN_RFC2133, _SOCKADDR_IN6_LEN = 16, 24, 28
_INT_MASK = 0xFFFFFFFF
_LANDLOCK_RESTRICT_SELF = 446  # the same number on every ABI
_X32_BIT = 0x40000000
_TICKS_PER_S = 100  # USER_HZ, in which proc(5) counts


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


class Sandboxes:
    """The calls of landlock_restrict_self(2) in one tree."""

    def __init__(self) -> None:
        self._first: float | None = None  # time of the first call, in ticks since boot
        self._inside: set[int] = set()  # the processes that made a call

    def enter(self, tid: int) -> None:
        """Note that a thread restricts itself; its call still waits.

        Raises OSError if its process cannot be found.
        """
        pid = process_of(tid)
        if self._first is None:
            self._first = time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S
        self._inside.add(pid)

    def distrust_all(self) -> None:
        """Note that an unknown process restricts itself: then no process is served."""
        self._first = 0  # no process is older than the boot

    def may_hold(self, tid: int) -> bool:
        """Tell whether a thread's process may be in a domain; raises OSError if it died."""
        if self._first is None:
            return False
        pid = process_of(tid)
        return pid in self._inside or _started(pid) + 1 > self._first


def _started(pid: int) -> int:
    """Return when a process was started, in whole ticks since boot (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[19])
