# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: calls the stages in order, and turns every error into text and status.

argv -> Request -> the user of --user -> Target -> proof of the listed ports -> Plan -> exec
"""

from __future__ import annotations

import sys

from . import diagnose, helper, launch, log, options, plan, target
from ._lean import TYPE_CHECKING, add_site_packages, fsdecode, fsencode, posix, socket
from .errors import STATUS_REFUSED, PybindError, Refused, UsageError
from .model import AUTO, PRELOAD, SUPERVISE, Address, Request, Target
from .paths import LIBRARY

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def main(arguments: list[str], notes: str) -> int:
    """Run the command; returns an exit status only when the program was not started."""

    def start() -> int:
        if sys.platform != "linux":
            raise PybindError("works on Linux only: it needs file capabilities and /proc")
        try:
            request = options.read(arguments) or _ask_click(arguments)
        except UsageError as error:
            from . import hints  # only when the command line is wrong

            raise UsageError(*error.lines, *hints.for_words(arguments)) from None
        return request if isinstance(request, int) else run(request, notes)

    return guard(start)


def guard(start: Callable[[], int], name: str = "pybind", failure: int | None = None) -> int:
    """Call `start` and print the error that it raises; returns the exit status.

    name: the command that was typed. failure: the exit status for every error. None:
    each error has its own.
    """
    try:
        return start()
    except PybindError as error:
        _say(*error.lines, name=name)
        if not isinstance(error, UsageError):
            log.refused(error.lines[0])
        status = error.status
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        _say("there is too little memory to start; allow more: ulimit -v", name=name)
        status = STATUS_REFUSED
    except ImportError as error:
        _say(
            f"cannot load the Python module {error.name}: {error}",
            "the module is made for another Python, or there is too little memory: ulimit -v",
            name=name,
        )
        status = STATUS_REFUSED
    except OSError as error:
        place = error.filename or "system call"
        if isinstance(place, bytes):
            place = fsdecode(place)
        _say(f"{place}: {error.strerror}", name=name)
        status = STATUS_REFUSED
    return status if failure is None else failure


def _ask_click(arguments: list[str]) -> Request | int:
    add_site_packages()
    from . import commandline

    return commandline.parse(arguments)


def run(request: Request, notes: str) -> int:
    """Prove the ports, choose how the program is served, and start it.

    Returns 0 after --check. Else this process becomes the program, or stands for the
    program until the supervised program ends. Raises PybindError.
    """
    if request.listen:
        launch.check_free(plan.LISTEN_FDS_START, len(request.listed), notes)
    environ = launch.read_environ()  # first: a user cannot read what was root's environment
    if request.user is not None:
        environ = _become(request.user, environ)
    program = None
    if request.argv:
        program = _find(request, environ)
    if request.gives_sockets:
        from . import listening

        opened = listening.open_all(request, environ)
        if request.check or program is None:
            return 0
        _give_sockets(request, program, environ, opened, notes)
    if program and request.mode == SUPERVISE:
        _check_supervised(request, program)  # before the proof: this check gives the clearer reason
    needed = _needs_helper(request, environ)
    judged = program is not None and _kernel_judges(request, program, needed)
    if judged:
        # The preload library does nothing until the kernel refuses a bind. While pybindd
        # restarts, the library serves the program. A supervisor would mean two processes more.
        needed = program is not None and program.obstacle is None
    as_root = not needed and _is_root_with_ports(request)
    way = _choose_way(request, program, needed=needed or as_root) if program else None
    if request.check or program is None:
        return 0
    if as_root:
        _note_root(request, program)
    if way is None:
        how = "started plainly" + (f"; {_JUDGED}" if judged else "")
        _explain_way(request, program, how)
        launch.execute(plan.plain(request, program, environ), notes)
    if way == PRELOAD:
        _explain_way(request, program, _preloaded(judged=judged, as_root=as_root))
        launch.execute(plan.preload(request, program, environ, fsencode(LIBRARY)), notes)
    why = program.obstacle or "as --mode says"
    text = f"served by a supervisor ({why}); sudo and ping cannot work there"
    _explain_way(request, program, text)
    add_site_packages()
    from .supervise import start  # its imports take longer than everything before

    limits = plan.limits(request, environ)
    return start.run(plan.plain(request, program, environ), notes, limits, request.verbose)


def _find(request: Request, environ: tuple[bytes, ...]) -> Target:
    """Return the program. Raises PybindError.

    With --check the error names the refused ports too, before what is wrong with the program.
    """
    try:
        return target.classify(target.find(request.argv[0], environ))
    except PybindError as error:
        if not request.check:
            raise
        try:
            if request.gives_sockets:
                from . import listening

                listening.open_all(request, environ)
            else:
                _needs_helper(request, environ)
        except PybindError as refused:
            raise Refused(*refused.lines, *error.lines) from None
        raise


def _give_sockets(
    request: Request,
    program: Target,
    environ: tuple[bytes, ...],
    sockets: list[socket.socket],
    notes: str,
) -> NoReturn:
    """Start the program with its sockets: no library, no supervisor."""
    first = plan.first_descriptor(request)
    last = first + len(sockets) - 1
    where = f"descriptor {first}" if first == last else f"descriptors {first} to {last}"
    _explain_way(request, program, f"given listening sockets ({where})")
    made = plan.sockets(request, program, environ, posix.getpid())
    numbers = {number: sock.fileno() for number, sock in enumerate(sockets, first)}
    launch.execute(made, notes, numbers)


def _become(text: str, environ: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Change to the user of --user for good; returns that user's environment."""
    from . import become  # ctypes and the name service: for this option alone

    account = become.resolve(text)
    become.become(account)
    return become.environ_of(account, environ)


def _needs_helper(request: Request, environ: tuple[bytes, ...]) -> bool:
    """Prove the listed ports; tell whether the program needs the helper.

    Inside another pybind a program always does: that pybind had reason to serve it.
    Raises Refused, HelperUnusable.
    """
    nested = plan.is_nested(environ, fsencode(LIBRARY))
    if request.listed:
        from . import listed

        return listed.ports_need_helper(request, environ) or nested
    if diagnose.binds_alone() or diagnose.first_unprivileged_port() == 0:
        return nested
    # No port is named, so none can be proved. The helper never grants port 0, but its
    # answer says whether the helper has its capability.
    able = helper.check(Address(socket.AF_INET, bytes(4), 0, 0, False)).capable
    if not able or diagnose.foreign_network():
        from . import explain

        raise Refused(*explain.unusable_helper())
    return True


def _kernel_judges(request: Request, program: Target, needed: bool) -> bool:
    """Tell whether the kernel itself grants the program's binds, because pybindd runs.

    needed: what _needs_helper() said. If the proof bound a listed privileged port without
    the helper, the kernel grants. Without listed ports pybindd is asked. The question
    takes time: only a program that would need a supervisor is worth it.
    """
    if diagnose.binds_alone():
        return False
    if request.listed:
        first = diagnose.first_unprivileged_port()
        return not needed and any(listed.port < first for listed in request.listed)
    if not needed or not program.obstacle or request.mode != AUTO:
        return False
    from . import pybindd

    return pybindd.judges_this_process()


def _is_root_with_ports(request: Request) -> bool:
    """Tell whether root's program might change its user and then bind a privileged port.

    The preload library serves such programs, for example su, setpriv and nginx.
    """
    first = diagnose.first_unprivileged_port()
    ports = [listed.port for listed in request.listed] or [0]
    return posix.geteuid() == 0 and min(ports) < first and diagnose.binds_alone()


def _choose_way(request: Request, program: Target, *, needed: bool) -> str | None:
    """Return PRELOAD or SUPERVISE, or None for a program that is started plainly.

    Raises Refused.
    """
    if request.mode == SUPERVISE:
        return SUPERVISE
    if not needed or program.binds_alone:
        return None
    if not program.obstacle:
        return PRELOAD
    if request.mode == AUTO and posix.geteuid() == 0:
        return None  # root needs no grant
    if request.mode == AUTO:
        _check_supervised(request, program)
        return SUPERVISE
    name = fsdecode(program.path)
    if program.unsupervisable:
        raise Refused(
            f"cannot serve {name!r}, {program.kind}: {program.obstacle}",
            "the loader ignores the preload library there, so the program's bind would fail "
            "with 'Permission denied'",
        )
    _note(
        request,
        f"{name!r} itself is not served ({program.obstacle}); the programs that it starts are",
        "to serve all of them: --mode supervise",
    )
    return PRELOAD


def _check_supervised(request: Request, program: Target) -> None:
    add_site_packages()
    from .supervise import preflight

    preflight.check(request, program)


_JUDGED = "pybindd lets the kernel judge the program's binds"


def _preloaded(*, judged: bool, as_root: bool) -> str:
    """Return the reason for the preload library, in words."""
    if judged:
        return f"{_JUDGED}; the preload library serves while pybindd restarts"
    return "served by the preload library" + (", for processes of other users" if as_root else "")


def _note_root(request: Request, program: Target) -> None:
    _note(
        request,
        f"{fsdecode(program.path)} is started as root, who needs no grant",
        "to start it as a user who has one: pybind --user USER ...",
    )


def _note(request: Request, *lines: str) -> None:
    if not request.quiet:
        _say("note: " + lines[0], *lines[1:])


def _explain_way(request: Request, program: Target, way: str) -> None:
    log.start(program.path, [listed.text for listed in request.listed], way)
    if request.verbose:
        _say(f"{fsdecode(program.path)}: {program.kind}, {way}")


def _say(*lines: str, name: str = "pybind") -> None:
    from . import output  # only when there is a line to print

    output.say(*lines, name=name)
