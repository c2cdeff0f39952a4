# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves the listed ports before the program starts, and prints the result."""

from __future__ import annotations

from . import binding, output, plan
from .errors import Refused
from .model import Address, Request


def ports_need_helper(request: Request, environ: tuple[bytes, ...]) -> bool:
    """Prove each listed port; with --check, only ask about it.

    Returns whether only the helper can bind some of them. Raises Refused,
    HelperUnusable.
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
                continue  # the refusal of the other half is in `refused`
            elif verdict.granted or index == 0:
                refused.append(verdict)
            else:
                note_refused(verdict, request)  # the program can run without this half
    raise_refused(refused, request)
    return needed


def raise_refused(refused: list[binding.Verdict], request: Request) -> None:
    """Raise Refused with the lines about these verdicts, if there are any."""
    if refused:
        from . import explain  # here and below: only when there is a line to print

        raise Refused(*explain.refusals(refused, by_hand=request.verbose))


def note_refused(verdict: binding.Verdict, request: Request) -> None:
    """Print that the optional half of a port is refused."""
    from . import explain

    output.note(*explain.refusal(verdict), quiet=request.quiet)


def check_outer_limit(request: Request, environ: tuple[bytes, ...]) -> None:
    """Raise Refused for a port that the pybind around this one does not serve."""
    for listed in request.listed:
        if plan.outer_limit_excludes(listed, environ):
            raise Refused(
                f"port {listed.text} is not among the ports of the pybind that started this one",
                "list it there too: nested, each --port only narrows",
            )


def no_such_family(address: Address) -> Refused:
    """Return the refusal of an address whose family this kernel does not have."""
    from . import explain

    return Refused(f"{explain.address_text(address)}: this host has no such address family")


def tell_granted(verdict: binding.Verdict, request: Request) -> None:
    """With --check or --verbose, print what granted the address."""
    if not request.check and not request.verbose:
        return
    from . import explain

    by = explain.granted_by(verdict.reply)
    if verdict.reply is None and _judged_by_pybindd(verdict.address.port):
        by = "pybindd has the kernel judge by the permission files"
    text = f"{explain.address_text(verdict.address)}: granted ({by})"
    if request.check:
        output.answer(text)
    else:
        output.say(text)


def _judged_by_pybindd(port: int) -> bool:
    """Tell whether a port that the kernel allowed is one that only a grant can have opened."""
    from . import diagnose, pybindd

    try:
        runs = pybindd.status() is not None
    except OSError:
        return False
    return runs and port < diagnose.first_unprivileged_port() and not diagnose.binds_alone()


def note_busy(verdict: binding.Verdict, request: Request) -> None:
    """Print that a granted port is busy; --check does not fail for a busy port."""
    from . import explain

    text = explain.address_text(verdict.address)
    output.note(f"{text} is granted but busy now", quiet=request.quiet)


def in_the_way(verdict: binding.Verdict, request: Request) -> bool:
    """Tell whether another socket keeps the program from the port."""
    address = verdict.address
    if not verdict.busy and not request.check:
        return False
    from . import holders

    if not verdict.busy:
        return bool(holders.users(address))
    return not (address.udp and holders.only_the_caller(address))
