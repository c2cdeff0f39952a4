# SPDX-License-Identifier: GPL-3.0-or-later
"""Settles before the start whether the listed ports can be had: proof and words together."""

from __future__ import annotations

import os
import socket

from . import diagnose, explain, helper, output, plan, proof
from .errors import Refused
from .model import Address, Listed, Request
from .paths import LIBRARY


def ports_need_helper(request: Request, environ: tuple[bytes, ...]) -> bool:
    """Prove, or with --check ask about, what is listed; raises Refused.

    Returns whether anything is left that only the helper could bind.
    """
    check_outer_limit(request, environ)
    nested = plan.is_nested(environ, os.fsencode(LIBRARY))
    if request.listed:
        needs = [_listed_needs_helper(listed, request) for listed in request.listed]
        return any(needs) or nested
    if diagnose.binds_alone() or _first_unprivileged_port() == 0:
        return nested
    # No port is named: at least the helper must be whole. Port 0 is never granted.
    reply = helper.check(Address(socket.AF_INET, proof.ANY4, 0, 0, False))
    lines = explain.unusable_helper(reply)
    if lines:
        raise Refused(*lines)
    return True


def check_outer_limit(request: Request, environ: tuple[bytes, ...]) -> None:
    """Raise Refused for a port that a pybind around this one does not serve."""
    for listed in request.listed:
        if plan.outer_limit_excludes(listed, environ):
            raise Refused(
                f"port {listed.text} is not among the ports of the pybind that started this one",
                "list it there too: nested, each --port only narrows",
            )


def no_such_family(address: Address) -> Refused:
    """Return the refusal of an address that this host's kernel has no protocol for."""
    return Refused(f"{explain.what(address)}: this host has no such address family")


def tell_granted(verdict: proof.Verdict, request: Request) -> None:
    """Say what granted, where --check or --verbose asked for it."""
    text = f"{explain.what(verdict.address)}: granted ({explain.granted_by(verdict.reply)})"
    if request.check:
        output.answer(text)
    elif request.verbose:
        output.say(text)


def in_the_way(verdict: proof.Verdict, request: Request) -> bool:
    """Tell whether somebody else's socket keeps the program from the port."""
    address = verdict.address
    if request.check and not verdict.busy:
        return bool(proof.holders(address))
    return verdict.busy and not (address.udp and proof.held_by_caller(address))


def _listed_needs_helper(listed: Listed, request: Request) -> bool:
    needed = False
    for index, address in enumerate(proof.addresses(listed)):
        verdict = proof.ask(address) if request.check else proof.prove(address)
        if verdict is None:
            if index == 0 and listed.addr is not None:
                raise no_such_family(address)
            continue
        needed = needed or not verdict.plain
        if not verdict.granted:
            if index == 0:
                raise Refused(*explain.refusal(verdict))
            output.note(*explain.refusal(verdict), quiet=request.quiet)
        elif in_the_way(verdict, request):
            if not request.check:
                raise Refused(*explain.refusal(verdict))
            output.note(f"{explain.what(address)} is granted but busy now", quiet=request.quiet)
        else:
            tell_granted(verdict, request)
    return needed


def _first_unprivileged_port() -> int:
    """Return the sysctl of this network namespace (ip(7)); 1024 where there is none."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 1024
