# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: knows the order of things, and is the only error boundary.

argv -> Request -> proof of the listed ports -> Target -> Plan -> exec
"""

from __future__ import annotations

import os
import socket
import sys

import click

from . import __version__, diagnose, explain, helper, launch, log, plan, proof, target
from .errors import STATUS_REFUSED, PybindError, Refused, UsageError
from .model import AUTO, PRELOAD, SUPERVISE, Address, Listed, Request, Target
from .paths import LIBRARY
from .request import parse_listed

_HELP = """Run PROGRAM, an ordinary program, as an ordinary user on a privileged port that an
administrator granted with a permission file (pybind(5)).

Without --port every port that the files grant is served. With it only the
listed ones are, and each is proved before PROGRAM starts.

Exit status: PROGRAM's own; 125 pybind refused, 126 PROGRAM cannot be executed,
127 there is no such PROGRAM."""


class _Port(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic since 8.2
    name = "[ADDR:]PORT[/PROTO]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Listed:
        return value if isinstance(value, Listed) else parse_listed(str(value))


@click.command(
    name="pybind",
    help=_HELP,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]},
)
@click.option(
    "-p",
    "--port",
    "listed",
    type=_Port(),
    multiple=True,
    help="Serve only this port (number or service name; IPv6 in brackets). Repeatable.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Serve only the first N programs of a chain of execs.",
)
@click.option("--deep", is_flag=True, help="Serve all descendants (the default; as authbind).")
@click.option(
    "--mode",
    type=click.Choice([AUTO, PRELOAD, SUPERVISE]),
    default="auto",
    show_default=True,
    help="How PROGRAM's binds are served.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Say which way was taken, and on stderr what became of each bind.",
)
@click.option("-q", "--quiet", is_flag=True, help="No notes, only errors.")
@click.option(
    "--check",
    is_flag=True,
    help="Start and bind nothing: say whether it would be granted (0) or refused (125).",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM [ARG]...")
def command(deep: bool, depth: int | None, argv: tuple[str, ...], **options: object) -> Request:
    """Return the command line as a Request; click's help comes from _HELP."""
    if deep and depth is not None:
        raise UsageError("--deep and --depth exclude each other")
    program = tuple(os.fsencode(word) for word in argv)
    if not program and not (options["check"] and options["listed"]):
        raise UsageError(
            "no program is given",
            "usage: pybind [OPTION]... [--] PROGRAM [ARG]...",
            "see: pybind --help",
        )
    return Request(depth=depth, argv=program, **options)  # type: ignore[arg-type]


def main(arguments: list[str], notes: str) -> int:
    """Run the command; returns an exit status only when the program was not started."""
    try:
        if sys.platform != "linux":
            raise PybindError("works on Linux only: file capabilities and its /proc are Linux's")
        request = command.main(arguments, prog_name="pybind", standalone_mode=False)
        return request if isinstance(request, int) else _run(request, notes)
    except click.UsageError as error:
        _say(error.format_message(), "see: pybind --help")
    except PybindError as error:
        _say(*error.lines)
        if not isinstance(error, UsageError):
            log.refused(error.lines[0])
        return error.status
    except click.exceptions.Abort:
        return 130
    except OSError as error:
        _say(f"{error.filename or 'system call'}: {error.strerror}")
    return STATUS_REFUSED


def _run(request: Request, notes: str) -> int:
    environ = launch.read_environ()
    found = None
    if request.argv:
        found = target.classify(target.find(request.argv[0], environ))
    if found and request.mode == SUPERVISE:
        _check_supervised(request, found)  # its reasons are nearer than the proof's
    nested = plan.is_nested(environ, os.fsencode(LIBRARY))
    needed = _ports_need_helper(request, environ) or nested
    way = _choose_way(request, found, needed) if found else None
    if request.check or found is None:
        return 0
    if way is None:
        _explain_way(request, found, "started plainly")
        launch.execute(plan.plain(request, found, environ), notes)
    if way == PRELOAD:
        _explain_way(request, found, "served by the preload library")
        launch.execute(plan.preload(request, found, environ, os.fsencode(LIBRARY)), notes)
    why = found.obstacle or "as --mode says"
    _explain_way(request, found, f"served by a supervisor ({why}); sudo and ping cannot work in it")
    from .supervise import start  # what it imports costs more than all the rest

    limits = plan.limits(request, environ)
    return start.run(plan.plain(request, found, environ), notes, limits, request.verbose)


def _choose_way(request: Request, found: Target, needed: bool) -> str | None:
    """Return how the program is served, or None for not at all; raises Refused."""
    if request.mode == AUTO and (not needed or found.binds_alone):
        return None
    if request.mode == SUPERVISE:
        return SUPERVISE
    if request.mode == AUTO and found.obstacle:
        _check_supervised(request, found)
        return SUPERVISE
    if found.obstacle and not found.binds_alone and needed:
        raise Refused(
            f"cannot serve {os.fsdecode(found.path)!r}, {found.kind}: {found.obstacle}",
            "the preload library would not be asked, and its bind would fail with "
            "'Permission denied'",
            *([] if found.unsupervisable else ["to serve it: --mode supervise (or auto)"]),
        )
    return PRELOAD if needed and not found.binds_alone else None


def _check_supervised(request: Request, found: Target) -> None:
    from .supervise import preflight

    preflight.check(request, found)


def _ports_need_helper(request: Request, environ: tuple[bytes, ...]) -> bool:
    """Prove, or with --check ask about, what is listed; raises Refused.

    Returns whether anything is left that only the helper could bind.
    """
    for listed in request.listed:
        if plan.outer_limit_excludes(listed, environ):
            raise Refused(
                f"port {listed.text} is not among the ports of the pybind that started this one",
                "list it there too: nested, each --port only narrows",
            )
    if request.listed:
        needs = [_listed_needs_helper(listed, request) for listed in request.listed]
        return any(needs)
    if diagnose.binds_alone() or _first_unprivileged_port() == 0:
        return False
    # No port is named: at least the helper must be whole. Port 0 is never granted.
    reply = helper.check(Address(socket.AF_INET, proof.ANY4, 0, 0, False))
    lines = explain.unusable_helper(reply)
    if lines:
        raise Refused(*lines)
    return True


def _listed_needs_helper(listed: Listed, request: Request) -> bool:
    needed = False
    for index, address in enumerate(proof.addresses(listed)):
        verdict = proof.ask(address) if request.check else proof.prove(address)
        if verdict is None:
            if index == 0 and listed.addr is not None:
                raise Refused(f"{explain.what(address)}: this host has no such address family")
            continue
        needed = needed or not verdict.plain
        if not verdict.granted:
            if index == 0:
                raise Refused(*explain.refusal(verdict))
            _note(request, *explain.refusal(verdict))
        elif _in_the_way(verdict, request):
            if not request.check:
                raise Refused(*explain.refusal(verdict))
            _note(request, f"{explain.what(address)} is granted but busy now")
        elif request.check:
            click.echo(f"{explain.what(address)}: granted ({explain.granted_by(verdict.reply)})")
        elif request.verbose:
            _say(f"{explain.what(address)}: granted ({explain.granted_by(verdict.reply)})")
    return needed


def _in_the_way(verdict: proof.Verdict, request: Request) -> bool:
    """Tell whether somebody else's socket keeps the program from the port."""
    address = verdict.address
    if request.check and not verdict.busy:
        return bool(proof.holders(address))
    return verdict.busy and not (address.udp and proof.held_by_caller(address))


def _first_unprivileged_port() -> int:
    """Return the sysctl of this network namespace (ip(7)); 1024 where there is none."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 1024


def _explain_way(request: Request, found: Target, way: str) -> None:
    log.start(found.path, [listed.text for listed in request.listed], way)
    if request.verbose:
        _say(f"{os.fsdecode(found.path)}: {found.kind}, {way}")


def _note(request: Request, *lines: str) -> None:
    if not request.quiet:
        _say("note: " + lines[0], *lines[1:])


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(f"pybind: {line}", err=True)
