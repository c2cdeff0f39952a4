# SPDX-License-Identifier: GPL-3.0-or-later
"""--listen, --inetd: opens the listed ports, for a program that takes sockets.

Nothing is left to be served once the program runs: no library, no filter, and
whatever sandbox it goes into, its sockets are bound.
"""

from __future__ import annotations

import errno

from . import binding, listed, output
from ._lean import socket
from .model import Address, Listed, Request

BACKLOG = 4096  # the kernel caps it at net.core.somaxconn (listen(2)), by default the same


def open_all(request: Request, environ: tuple[bytes, ...]) -> list[socket.socket]:
    """Return a bound, listening socket (owned by the caller) for each listed port, in order.

    With --check nothing is bound for good, and the list is empty. Raises
    Refused, HelperUnusable; then nobody has been able to connect to any of them.
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
        except OSError as error:  # somebody else bound it before, too, and listens since
            verdict = binding.Verdict(address, error.errno or errno.EIO, None)
            listed.raise_refused([verdict], request)
    return [sock for sock, _ in opened]


def _addresses(port: Listed) -> list[Address]:
    """Return what to try in turn: without an address one socket for both families first."""
    found = binding.addresses(port)
    return found if port.addr is not None else found[::-1]


def _bind(
    port: Listed, request: Request
) -> tuple[socket.socket | None, binding.Verdict, binding.Verdict | None]:
    """Return the socket, what became of its address, and of the one that it does without.

    The socket is None where that was refused. Raises Refused for an address that this
    host has no protocol for.
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
        if verdict.error != errno.EADDRNOTAVAIL:  # else there is no IPv6, and none was asked for
            without = verdict
    raise listed.no_such_family(last)


def _tell(verdict: binding.Verdict, without: binding.Verdict | None, request: Request) -> None:
    """Say what was granted, what is busy, and what the socket does without."""
    if without is not None:
        from . import explain  # only where there is something to say

        lines = (*explain.refusal(without), "the socket is for IPv4 alone")
        output.note(*lines, quiet=request.quiet)
    if request.check and listed.in_the_way(verdict, request):
        listed.note_busy(verdict, request)
    else:
        listed.tell_granted(verdict, request)
