# SPDX-License-Identifier: GPL-3.0-or-later
"""Settles before the start whether the listed ports can be had: proof and words together."""

from __future__ import annotations

from . import binding, output, plan
from .errors import Refused
from .model import Address, Request


def ports_need_helper(request: Request, environ: tuple[bytes, ...]) -> bool:
    """Prove, or with --check ask about, what is listed; raises Refused.

    Returns whether anything is left that only the helper could bind.
    """
    check_outer_limit(request, environ)
    needed = False
    refused: list[binding.Verdict] = []
    for listed in request.listed:
        for index, address in enumerate(binding.addresses(listed)):
            verdict = binding.ask(address) if request.check else binding.prove(address)
            if verdict is None:
                if index == 0 and listed.addr is not None:
                    raise no_such_family(address)
                continue
            needed = needed or not verdict.plain
            if verdict.granted and not in_the_way(verdict, request):
                tell_granted(verdict, request)
            elif verdict.granted and request.check:
                note_busy(verdict, request)
            elif index > 0 and refused and refused[-1].address.port == address.port:
                continue  # it was said of the other half
            elif verdict.granted or index == 0:
                refused.append(verdict)
            else:
                note_refused(verdict, request)  # the program can do without this half
    raise_refused(refused, request)
    return needed


def raise_refused(refused: list[binding.Verdict], request: Request) -> None:
    """Raise Refused with the words for all that is refused or busy; nothing where nothing is."""
    if refused:
        from . import explain  # here and below: only where there is something to say

        raise Refused(*explain.refusals(refused, by_hand=request.verbose))


def note_refused(verdict: binding.Verdict, request: Request) -> None:
    """Say of the optional half of a port that it is refused."""
    from . import explain

    output.note(*explain.refusal(verdict), quiet=request.quiet)


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
    from . import explain

    return Refused(f"{explain.address_text(address)}: this host has no such address family")


def tell_granted(verdict: binding.Verdict, request: Request) -> None:
    """Say what granted, where --check or --verbose asked for it."""
    if not request.check and not request.verbose:
        return
    from . import explain

    text = f"{explain.address_text(verdict.address)}: granted ({explain.granted_by(verdict.reply)})"
    if request.check:
        output.answer(text)
    else:
        output.say(text)


def note_busy(verdict: binding.Verdict, request: Request) -> None:
    """Say of a granted port that somebody holds it, where --check only asks."""
    from . import explain

    what = explain.address_text(verdict.address)
    output.note(f"{what} is granted but busy now", quiet=request.quiet)


def in_the_way(verdict: binding.Verdict, request: Request) -> bool:
    """Tell whether somebody else's socket keeps the program from the port."""
    address = verdict.address
    if not verdict.busy and not request.check:
        return False
    from . import holders

    if not verdict.busy:
        return bool(holders.users(address))
    return not (address.udp and holders.only_the_caller(address))
