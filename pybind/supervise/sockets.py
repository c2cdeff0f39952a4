# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program's socket itself tells. Descriptors are borrowed throughout."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from ..model import Address
from .wanted import Wanted


@contextlib.contextmanager
def _borrowed(socket_fd: int) -> Iterator[socket.socket]:
    """Use a descriptor as a socket; it stays open. OSError: it is none."""
    sock = socket.socket(fileno=socket_fd)
    try:
        yield sock
    finally:
        sock.detach()


def address_of(socket_fd: int, wanted: Wanted) -> Address:
    """Return what is wanted with the socket's protocol; raises OSError."""
    with _borrowed(socket_fd) as sock:
        protocol = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    udp = protocol == socket.IPPROTO_UDP
    return Address(wanted.family, wanted.addr, wanted.scope_id, wanted.port, udp)


def is_bound(socket_fd: int, address: Address) -> bool:
    """Tell whether the socket has that name, when its helper died unheard.

    The socket may be of any family: an AF_UNIX one has a name without a port.
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
