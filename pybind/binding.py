# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves listed ports before the program starts: binds each for real, and closes it.

The socket does not stay open. An open socket would keep the port busy after the
server has ended, and an open UDP socket would swallow datagrams.
"""

from __future__ import annotations

import errno

from . import _wire, helper
from ._lean import socket
from .model import MAPPED, Address, Listed, Reply

ANY4 = bytes(4)
ANY6 = bytes(16)


class Verdict:
    """The answer about one address: granted or refused, by the kernel or the helper.

    error: errno of the bind, 0 when it worked.
    reply: the helper's reply, or None if the kernel alone decided.
    """

    def __init__(self, address: Address, error: int, reply: Reply | None) -> None:
        self.address = address
        self.error = error
        self.reply = reply

    @property
    def plain(self) -> bool:
        """Tell whether the kernel alone decided."""
        return self.reply is None

    @property
    def granted(self) -> bool:
        """Tell whether the address may be bound; the port may still be busy."""
        return self.error == 0 or (
            self.error == errno.EADDRINUSE
            and (self.reply is None or self.reply.reason == _wire.REASON_KERNEL)
        )

    @property
    def busy(self) -> bool:
        """Tell whether the port is granted but another socket holds it."""
        return self.granted and self.error == errno.EADDRINUSE


def addresses(listed: Listed) -> list[Address]:
    """Return the addresses to prove for one --port; only the first one is required.

    A port without an address means 0.0.0.0, and :: as well. :: is optional: a host may
    have no IPv6, and a grant for :: needs one for 0.0.0.0 too.
    """
    udp = listed.protocol == "udp"
    if listed.addr is None:
        return [
            Address(socket.AF_INET, ANY4, 0, listed.port, udp),
            Address(socket.AF_INET6, ANY6, 0, listed.port, udp),
        ]
    family = socket.AF_INET if len(listed.addr) == 4 else socket.AF_INET6
    return [Address(family, listed.addr, listed.scope_id, listed.port, udp)]


def prove(address: Address) -> Verdict | None:
    """Bind a socket to `address` and close it again.

    Returns None where the host has no such address family. Raises
    HelperUnusable.
    """
    return _try(address, check_only=False)


def ask(address: Address) -> Verdict | None:
    """Like prove(), but the helper is only asked, and binds nothing.

    So the verdict does not tell whether a port that needs the helper is busy.
    """
    return _try(address, check_only=True)


def _try(address: Address, check_only: bool) -> Verdict | None:
    sock = new_socket(address, dual=False)
    if sock is None:
        return None
    try:
        # When a user restarts a server, the old one may still listen: the proof must
        # pass. With UDP, SO_REUSEPORT would give this socket the old server's datagrams.
        if not address.udp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return settle(sock, address, check_only=check_only)
    finally:
        sock.close()


def settle(sock: socket.socket, address: Address, *, check_only: bool) -> Verdict:
    """Bind `sock` (borrowed) to `address`, by the helper if the kernel refuses.

    check_only: the helper is only asked. A bind that the kernel allows is still made.
    Raises HelperUnusable.
    """
    error = _plain_bind(sock, address)
    if error != errno.EACCES:
        return Verdict(address, error, None)
    reply = helper.check(address) if check_only else helper.bind(address, sock)
    return Verdict(address, reply.error, reply)


def new_socket(address: Address, *, dual: bool) -> socket.socket | None:
    """Return a socket for `address` (owned by the caller, close-on-exec), not yet bound.

    dual: a socket for :: takes IPv4 too, whatever net.ipv6.bindv6only says. Returns
    None where the host has no such address family. Raises OSError.
    """
    kind = socket.SOCK_DGRAM if address.udp else socket.SOCK_STREAM
    try:
        sock = socket.socket(address.family, kind)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return None
        raise
    # Connections in TIME_WAIT must not keep the port. With UDP, SO_REUSEADDR would let
    # two sockets share it.
    if not address.udp:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address.family == socket.AF_INET6:
        only6 = not dual and not address.addr.startswith(MAPPED)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only6)
    return sock


def _plain_bind(sock: socket.socket, address: Address) -> int:
    text = socket.inet_ntop(address.family, address.addr)
    try:
        if address.family == socket.AF_INET:
            sock.bind((text, address.port))
        else:
            sock.bind((text, address.port, 0, address.scope_id))
    except OSError as error:
        return error.errno or errno.EIO
    return 0
