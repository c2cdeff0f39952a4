# SPDX-License-Identifier: GPL-3.0-or-later
"""--listen, --inetd: opens the listed ports, for a program that takes sockets.

The sockets are bound before the program starts. So the program needs no library and
no filter, and may enter any sandbox.
"""

from __future__ import annotations

import errno

from . import binding, listed, output
from ._lean import socket
from .model import Address, Listed, Request

BACKLOG = 4096  # the kernel caps it at net.core.somaxconn (listen(2)), by default the same


def open_all(request: Request, environ: tuple[bytes, ...]) -> list[socket.socket]:
    """Return a bound, listening socket (owned by the caller) for each listed port, in order.

    With --check the list is empty, and no socket stays open. Raises Refused,
    HelperUnusable. No socket listens before all are bound, so that after a refusal
    nobody has connected to a port.
    """
    listed.check_outer_limit(request, environ)
    opened, refused = [], []
    for port in request.listed:
        sock, verdict, without = _bind(port, request)
        if sock is None or (verdict.busy and not request.check):
            refused.append(verdict)
            continue
        _tell(verdict, without, request)
        opened.append((sock, verdict.address))
    listed.raise_refused(refused, request)
    if request.check:
        return []
    for sock, address in opened:
        if address.udp:
            continue
        try:
            sock.listen(request.backlog or BACKLOG)
        except OSError as error:  # another socket, bound with SO_REUSEADDR too, listens first
            verdict = binding.Verdict(address, error.errno or errno.EIO, None)
            listed.raise_refused([verdict], request)
    return [sock for sock, _ in opened]


def _addresses(port: Listed) -> list[Address]:
    """Return the addresses to try in turn: for a port without an address, :: first."""
    addresses = binding.addresses(port)
    return addresses if port.addr is not None else addresses[::-1]


def _bind(
    port: Listed, request: Request
) -> tuple[socket.socket | None, binding.Verdict, binding.Verdict | None]:
    """Return the socket, the verdict about its address, and the verdict about a refused ::.

    The socket (owned by the caller) is None when its address is refused. A refused ::
    is no error when 0.0.0.0 is granted: the third value then tells why. Raises Refused
    when this host lacks the address family.
    """
    *earlier, last = _addresses(port)
    without = None
    for address in (*earlier, last):
        sock = binding.new_socket(address, dual=bool(earlier))
        if sock is None:
            continue
        verdict = binding.settle(sock, address, check_only=request.check)
        if verdict.granted:
            return sock, verdict, without
        sock.close()
        if address == last:
            return None, verdict, None
        if verdict.error != errno.EADDRNOTAVAIL:  # that is a host without IPv6: nothing to tell
            without = verdict
    raise listed.no_such_family(last)


def _tell(verdict: binding.Verdict, without: binding.Verdict | None, request: Request) -> None:
    """Print the result for one port. without: the verdict about a refused ::, or None."""
    if without is not None:
        from . import explain  # only when there is a line to print

        lines = (*explain.refusal(without), "the socket is for IPv4 alone")
        output.note(*lines, quiet=request.quiet)
    if request.check and listed.in_the_way(verdict, request):
        listed.note_busy(verdict, request)
    else:
        listed.tell_granted(verdict, request)
