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
    """Tell whether the socket has that name, when its helper died unheard."""
    with _borrowed(socket_fd) as sock:
        name = sock.getsockname()
    return bool(
        name[1] == address.port and socket.inet_pton(address.family, name[0]) == address.addr
    )
