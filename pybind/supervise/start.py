# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the three processes: front -> supervisor -> program.

The front keeps the pid that the user started. The supervisor is the program's parent,
and the ancestor of every process of the tree: with Yama's ptrace_scope 1, only an
ancestor may look into a process. The program loads the filter on itself, passes the
listener to the supervisor, and then executes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Iterator
from typing import NoReturn

import prctl

from .. import launch
from ..errors import STATUS_REFUSED, PybindError, Refused
from ..model import Plan
from . import front, kernel, preflight
from .front import STARTED, Orders, Report
from .supervisor import Supervisor

_READY = b"R"
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class _World:
    """The caller's signals and timers, which the program must find unchanged."""

    def __init__(self, notes: str) -> None:
        self.notes = notes
        self.front_pid = os.getpid()
        self.supervisor_pid = 0
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self.sigchld = signal.getsignal(signal.SIGCHLD)
        # While SIGCHLD is ignored, the kernel reaps children and drops their status.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Timers survive execve(2) but not fork(2): the program needs them, not the front.
        self.timers = {which: signal.setitimer(which, 0) for which in _TIMERS}

    def restore(self) -> None:
        """Restore the timers, SIGCHLD and the signal mask."""
        for which, (delay, interval) in self.timers.items():
            if delay:
                signal.setitimer(which, delay, interval)
        if self.sigchld == signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        # A pending one is the program's end, not an exception here.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def run(plan: Plan, notes: str, limits: bytes | None, verbose: bool) -> NoReturn:
    """Start the program under a supervisor, and become the front.

    limits: in the form of PYBIND_PORTS, or None. Raises PybindError if the program could
    not be started; then no process is left.
    """
    program = kernel.build_filter()
    world = _World(notes)
    try:
        ours, theirs = socket.socketpair()
        failure, failed = os.pipe2(os.O_CLOEXEC)
        front_pidfd = os.pidfd_open(os.getpid())
        verbose_fd = os.dup(2) if verbose else -1
        supervisor_pid = os.fork()
    except OSError as error:
        raise Refused(*preflight.cannot_start(error)) from None
    if supervisor_pid == 0:
        ours.close()
        os.close(failure)
        with contextlib.suppress(BaseException):
            _supervise(
                plan, world, program, Report(theirs, front_pidfd), failed, limits, verbose_fd
            )
        os._exit(STATUS_REFUSED)
    theirs.close()
    os.close(front_pidfd)
    os.close(failed)
    orders = Orders(ours)
    _raise_failure(failure, supervisor_pid)
    # The program runs: from here on nothing may fail.
    _name("front", plan)
    _let_go({ours.fileno()})
    front.run(orders, supervisor_pid)


def _raise_failure(failure: int, supervisor_pid: int) -> None:
    """Wait until the program is executed. Raises PybindError if it could not be."""
    with os.fdopen(failure, encoding="utf-8", errors="surrogateescape") as file:
        words = file.read().split("\0")
    if len(words) > 1:
        os.waitpid(supervisor_pid, 0)
        error = PybindError(*words[1:])
        error.status = int(words[0])
        raise error


def _supervise(
    plan: Plan,
    world: _World,
    program: bytes,
    report: Report,
    failed: int,
    limits: bytes | None,
    verbose_fd: int,
) -> None:
    """Become the supervisor. Everything that can fail happens before the program starts."""
    with _told(failed):
        prctl.set_child_subreaper(1)
        ours, theirs = socket.socketpair()
        world.supervisor_pid = os.getpid()
        pid = os.fork()
    if pid == 0:
        ours.close()
        _become_program(plan, world, program, theirs, failed)
    theirs.close()
    # Out of the terminal's reach: a signal that ends the job must not end the supervisor.
    os.setsid()
    try:
        with _told(failed):
            listener = _receive_listener(ours)
            if listener < 0:
                os.waitpid(pid, 0)
                return
            _let_go({report.fileno(), report.pidfd, listener, verbose_fd, ours.fileno(), failed})
            supervisor = Supervisor(listener, pid, report, limits, verbose_fd)
            _name("supervisor", plan)
            report.send(STARTED, pid)  # the front must know before the program does anything
            ours.send(_READY)
    finally:
        ours.close()
        os.close(failed)
    supervisor.run()


@contextlib.contextmanager
def _told(failed: int) -> Iterator[None]:
    """Report an exception to the front, and end this process."""
    try:
        yield
    except PybindError as error:
        _tell(failed, error.status, *error.lines)
        os._exit(STATUS_REFUSED)
    except (OSError, RuntimeError, MemoryError) as error:
        _tell(failed, STATUS_REFUSED, *preflight.cannot_start(error))
        os._exit(STATUS_REFUSED)


def _receive_listener(channel: socket.socket) -> int:
    """Return the listener (owned by the caller), or -1 if the program could not make one."""
    try:
        _, fds, _, _ = socket.recv_fds(channel, 1, 1)
    except ConnectionError:
        return -1
    return fds[0] if fds else -1


def _become_program(
    plan: Plan, world: _World, program: bytes, channel: socket.socket, failed: int
) -> NoReturn:
    """Load the filter, pass its listener on, and execute; reports every failure."""
    with contextlib.suppress(BaseException), _told(failed):
        prctl.set_pdeathsig(signal.SIGKILL)
        if os.getppid() != world.supervisor_pid:  # it died before set_pdeathsig()
            os._exit(STATUS_REFUSED)
        prctl.set_no_new_privs(1)
        listener = _install(program)
        _hand_over(channel, listener)
        os.close(listener)
        # Wait until the supervisor is in its own session: before, Ctrl-C would end it.
        if channel.recv(1) != _READY:
            os._exit(STATUS_REFUSED)
        channel.close()
        for number in _pending(world.front_pid) - signal.sigpending():
            os.kill(os.getpid(), number)
        environ = rewrite_pids(plan.environ, world.front_pid)
        world.restore()
        launch.execute(plan._replace(environ=environ), world.notes)
    os._exit(STATUS_REFUSED)


def _pending(front_pid: int) -> set[int]:
    """Return the signals that wait for the front (proc_pid_status(5)).

    What this process lacks of them was sent to the group, by a key of the terminal, before it
    was there, and the front takes that for the program's own. One that a process has sent
    comes once more from the front, which does no harm: before execve(2) a signal ends this
    process, or is ignored, or blocked.
    """
    with contextlib.suppress(OSError), open(f"/proc/{front_pid}/status", "rb") as file:
        words = [line.split() for line in file]
        masks = [int(word[1], 16) for word in words if word[0] in (b"SigPnd:", b"ShdPnd:")]
        return {
            number
            for number in signal.valid_signals()
            if number != signal.SIGCHLD and any(mask >> number - 1 & 1 for mask in masks)
        }
    return set()


def _tell(failed: int, status: int, *lines: str) -> None:
    os.write(failed, "\0".join([str(status), *lines]).encode("utf-8", "surrogateescape"))


def _install(program: bytes) -> int:
    try:
        return kernel.install_filter(program)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise Refused(*preflight.too_old()) from None
        if error.errno == errno.EBUSY:
            raise Refused(*preflight.already_there()) from None
        raise


def _hand_over(channel: socket.socket, listener: int) -> None:
    try:
        socket.send_fds(channel, [b"L"], [listener])
    except OSError as error:
        if error.errno == errno.ETOOMANYREFS:  # unix(7): the limit counts all processes of a user
            raise Refused(
                f"processes of uid {os.getuid()} have sent as many descriptors in messages that "
                "nobody has read as the limit allows (ETOOMANYREFS)",
                "end the process that does so, or allow more: ulimit -n",
            ) from None
        raise


def rewrite_pids(environ: tuple[bytes, ...], front_pid: int) -> tuple[bytes, ...]:
    """Return `environ` with the program's pid in place of the front's.

    systemd puts the pid of the process that it started into LISTEN_PID and WATCHDOG_PID
    (sd_listen_fds(3), sd_watchdog_enabled(3)). The program compares them with its own.
    """
    own = b"%d" % os.getpid()
    pids = {
        name + b"=%d" % front_pid: name + b"=" + own for name in (b"LISTEN_PID", b"WATCHDOG_PID")
    }
    changed = [pids.get(entry, entry) for entry in environ]
    if changed != list(environ):
        inode = os.fstat(os.pidfd_open(os.getpid())).st_ino
        changed = [
            b"LISTEN_PIDFDID=%d" % inode if entry.startswith(b"LISTEN_PIDFDID=") else entry
            for entry in changed
        ]
    return tuple(changed)


def _name(part: str, plan: Plan) -> None:
    """Make ps(1), top(1) and pstree(1) show pybind, the part, and the program's arguments."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        prctl.set_name("pybind")  # proc_pid_comm(5); the arguments have more room
        kernel.set_title(b"pybind: %s of %s" % (part.encode(), b" ".join(plan.argv)))


def _let_go(keep: set[int]) -> None:
    """Let go of the program's descriptors and working directory. Never fails.

    Descriptors 0 to 2 then name the root folder, which this process holds anyway. They
    do not name /dev/null, which may be missing or hang.
    """
    with contextlib.suppress(OSError):
        os.chdir("/")
    with contextlib.suppress(OSError):
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd not in keep and fd > 2:
                with contextlib.suppress(OSError):
                    os.close(fd)
    try:
        nothing = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        nothing = -1
    for fd in {0, 1, 2} - keep - {nothing}:
        with contextlib.suppress(OSError):
            if nothing < 0:
                os.close(fd)
            else:
                os.dup2(nothing, fd)
    if nothing > 2:
        os.close(nothing)
