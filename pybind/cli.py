# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: knows the order of things, and is the only error boundary.

argv -> Request -> the user's rights alone -> proof of the listed ports -> Target -> Plan -> exec
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from . import __version__, launch, log, output, plan, proving, target
from .errors import STATUS_REFUSED, PybindError, Refused, UsageError
from .model import AUTO, PRELOAD, SUPERVISE, Listed, Request, Target
from .paths import LIBRARY
from .request import check_sockets, parse_named

if TYPE_CHECKING:
    import socket

_HELP = """Run PROGRAM, an ordinary program, as an ordinary user on a privileged port that an
administrator granted with a permission file (pybind(5)).

Without --port every port that the files grant is served. With it only the
listed ones are, and each is proved before PROGRAM starts.

Exit status: PROGRAM's own; 125 pybind refused, 126 PROGRAM cannot be executed,
127 there is no such PROGRAM."""


class _Port(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic since 8.2
    name = "[NAME=][ADDR:]PORT[/PROTO]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Listed:
        return value if isinstance(value, Listed) else parse_named(str(value))


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
    help="How PROGRAM's binds are served; auto if not given.",
)
@click.option(
    "--listen",
    is_flag=True,
    help="Give PROGRAM the listed ports as listening sockets, as systemd does (LISTEN_FDS).",
)
@click.option("--inetd", is_flag=True, help="Give it the one listed port as standard input.")
@click.option(
    "--backlog",
    type=click.IntRange(1, 2**31 - 1),
    metavar="N",
    help="Queue length of the sockets of --listen and --inetd (default 4096).",
)
@click.option(
    "--user",
    metavar="USER[:GROUP]",
    help="Run PROGRAM as this user, whose grants then count (root only; names or numbers).",
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
def command(
    deep: bool, depth: int | None, mode: str | None, argv: tuple[str, ...], **options: object
) -> Request:
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
    request = Request(
        depth=depth,
        mode=mode or AUTO,
        argv=program,
        **options,  # type: ignore[arg-type]
    )
    given = {"--mode": mode is not None, "--depth": depth is not None, "--deep": deep}
    request = check_sockets(request, [way for way, is_given in given.items() if is_given])
    plan.fill_descriptors(request)  # for what it refuses
    return request


def main(arguments: list[str], notes: str) -> int:
    """Run the command; returns an exit status only when the program was not started."""
    try:
        if sys.platform != "linux":
            raise PybindError("works on Linux only: file capabilities and its /proc are Linux's")
        request = command.main(arguments, prog_name="pybind", standalone_mode=False)
        return request if isinstance(request, int) else _run(request, notes)
    except click.UsageError as error:
        output.say(error.format_message(), "see: pybind --help")
    except PybindError as error:
        output.say(*error.lines)
        if not isinstance(error, UsageError):
            log.refused(error.lines[0])
        return error.status
    except click.exceptions.Abort:
        return 130
    except OSError as error:
        output.say(f"{error.filename or 'system call'}: {error.strerror}")
    return STATUS_REFUSED


def _run(request: Request, notes: str) -> int:
    if request.listen:
        launch.check_free(plan.LISTEN_FDS_START, len(request.listed), notes)
    environ = launch.read_environ()  # first: once the ids have changed it is root's file
    if request.user is not None:
        environ = _become(request.user, environ)
    found = None
    if request.argv:
        found = target.classify(target.find(request.argv[0], environ))
    if request.gives_sockets:
        from . import listening

        opened = listening.open_all(request, environ)
        if request.check or found is None:
            return 0
        _give_sockets(request, found, environ, opened, notes)
    if found and request.mode == SUPERVISE:
        _check_supervised(request, found)  # its reasons are nearer than the proof's
    needed = proving.ports_need_helper(request, environ)
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


def _give_sockets(
    request: Request,
    found: Target,
    environ: tuple[bytes, ...],
    sockets: list[socket.socket],
    notes: str,
) -> NoReturn:
    """Start the program with its sockets, and nothing else of pybind's."""
    first = plan.first_descriptor(request)
    last = first + len(sockets) - 1
    where = f"descriptor {first}" if first == last else f"descriptors {first} to {last}"
    _explain_way(request, found, f"given listening sockets ({where})")
    made = plan.sockets(request, found, environ, os.getpid())
    numbers = {number: sock.fileno() for number, sock in enumerate(sockets, first)}
    launch.execute(made, notes, numbers)


def _become(text: str, environ: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Become the --user for good; returns the environment that belongs to that user."""
    from . import drop, user  # ctypes and the name service: for this option alone

    account = user.resolve(text)
    drop.become(account)
    return user.environ_of(account, environ)


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


def _explain_way(request: Request, found: Target, way: str) -> None:
    log.start(found.path, [listed.text for listed in request.listed], way)
    if request.verbose:
        output.say(f"{os.fsdecode(found.path)}: {found.kind}, {way}")
