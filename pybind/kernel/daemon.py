# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindd: one loop that keeps the table equal to the files, and the lease alive.

Each turn reads changed files, puts a new table in force, renews the lease, and answers
questions. The lease counts from the moment before the turn looked at the files. Any
error ends the lease: then the kernel grants nothing, and pybind-helper still serves.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from .. import __version__
from ..errors import PybindError
from ..paths import BPF_OBJECT, PYBINDD_LOCK
from ..pybindd import BUSY, netns_cookie, start_time
from . import obstacles
from .bpf import BpfError, Libbpf, forbid_core_dumps
from .control import Running, Server, answer, remove, take_lock, write_status
from .files import Files
from .obstacles import CannotRun
from .program import Program
from .records import Log, line_of
from .table import Numbers, empty
from .watch import Watch

TICK_S = 1.0
PATIENCE_S = 5.0  # a question is answered then, even if files change without a pause
CATCH_UP_S = 0.5  # if files change without a pause, other work is done after this time
LEFT_SHOWN = 100
# The result of a turn: nothing to do, a new table in force, files that keep changing.
_LEVEL, _PUBLISHED, _BUSY = "level", "published", "busy"


def main(argv: list[str]) -> int:
    """Run until SIGTERM; return the exit status.

    0: stopped by a signal. 1: failed. 2: usage. 3: pybindd cannot run here.
    """
    options = _parse(argv)
    try:
        return run(options.cgroup, options.verbose, options.trial)
    except PybindError as error:
        for line in error.lines:
            print(f"pybindd: {line}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"pybindd: {error}", file=sys.stderr)
        return 1


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pybindd",
        description="Lets the kernel judge binds by the permission files in /etc/pybind.",
        epilog="pybindd(8) has the rest. As a service: sudo systemctl enable --now pybindd",
    )
    parser.add_argument("--cgroup", metavar="DIR", help="serve this control group, not all")
    parser.add_argument("--trial", action="store_true", help="only try whether it can run here")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what happens, on stderr")
    parser.add_argument("--version", action="version", version=f"pybindd {__version__}")
    return parser.parse_args(argv)


def load() -> tuple[Libbpf, Program]:
    """Load the programs into the kernel. Raises CannotRun."""
    if not os.path.exists(BPF_OBJECT):
        raise obstacles.no_object()
    try:
        libbpf = Libbpf()
    except OSError as error:
        raise obstacles.no_library(error) from None
    try:
        return libbpf, Program(libbpf, BPF_OBJECT)
    except BpfError as error:
        raise obstacles.not_loaded(error, libbpf.messages) from None


def run(cgroup: str | None, verbose: bool, trial: bool) -> int:
    """Check whether pybindd can run here, load, attach, serve. Raises CannotRun, OSError."""
    obstacles.check_ids()
    if cgroup is None:
        obstacles.check_place()
        cgroup = obstacles.find_cgroup()
    cgroup_fd = obstacles.open_cgroup(cgroup)
    if trial:
        load()
        print(f"pybindd can run here, on {cgroup}")
        return 0
    try:
        lock_fd = take_lock()
    except Running as running:
        raise CannotRun(f"already running: process {running.args[0]} has {PYBINDD_LOCK}") from None
    except OSError as error:
        raise CannotRun(f"{PYBINDD_LOCK}: {os.strerror(error.errno or 0)}") from None
    forbid_core_dumps()
    _, program = load()
    daemon = Daemon(program, cgroup, verbose)
    try:
        daemon.begin(cgroup_fd)
        daemon.serve()
    finally:
        daemon.end()
        os.close(lock_fd)
    return 0


class Daemon:
    """The loop of pybindd."""

    def __init__(self, program: Program, cgroup: str, verbose: bool) -> None:
        self._program = program
        self._cgroup = cgroup
        self._netns_cookie = netns_cookie()
        self._verbose = verbose
        self._numbers = Numbers()
        self._log = Log()
        self._watch = Watch()
        self._files = Files(self._watch, program.end_lease)
        self._table = empty()
        self._tables = 0
        self._why_not: str | None = None
        self._since = self._changed = _now()
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._server = Server()
        self._records_fd, self._consume = program.read_records(self._record)
        self._questions: list[tuple[socket.socket, bytes]] = []
        self._patience_ends = self._next_tick = 0.0
        self._cgroup_fd = -1
        self._attached = True

    def begin(self, cgroup_fd: int) -> None:
        """Put the first table in force, then attach. Raises CannotRun.

        cgroup_fd: of the control group; the caller keeps it open.
        """
        self._cgroup_fd = cgroup_fd
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, self._read_again)
        self._program.identify(self._netns_cookie, os.stat("/proc/self/ns/user").st_ino)
        since_ns = _clock()
        while self._bring_in_force() is not _LEVEL and not self._stopping:
            since_ns = _clock()
        try:
            self._program.attach(cgroup_fd)
        except BpfError as error:
            raise obstacles.not_attached(error, self._cgroup) from None
        self._say(f"{self._described()}, on {self._cgroup}", always=True)
        self._program.renew_lease(since_ns)
        _notify("READY=1")

    def serve(self) -> None:
        """Run turns until a signal stops them."""
        while not self._stopping:
            self._turn()

    def end(self) -> None:
        """End the lease, detach the programs, remove status and socket."""
        _notify("STOPPING=1")
        self._program.detach()
        self._consume()
        remove()

    def _turn(self) -> None:
        since_ns = _clock()
        self._questions += self._server.questions()
        try:
            self._stay_attached()
            result = self._bring_in_force()
            if result is not _BUSY:
                self._program.renew_lease(since_ns)
        except OSError as error:
            self._fail(error)
            result = _LEVEL
        if result is not _BUSY or time.monotonic() >= self._patience_ends:
            self._answer(result)
        if time.monotonic() >= self._next_tick:
            self._tick(result)
        if result is _LEVEL and not self._stopping:
            self._wait()

    def _bring_in_force(self) -> str:
        """Read changed files and put a new table in force; return the result of the turn."""
        if not self._files.catch_up(time.monotonic() + CATCH_UP_S):
            return _BUSY
        if not self._files.changed:
            return _LEVEL
        table = self._files.table(self._numbers)
        self._files.changed = True  # until the kernel has the table: an error tries again
        self._consume()  # records of the old table, whose numbers still have their names
        self._program.put_in_force(table)
        self._files.changed = False
        self._tables += 1
        self._table, self._changed, self._why_not = table, _now(), None
        self._say(self._described())
        self._publish()
        return _PUBLISHED

    def _stay_attached(self) -> None:
        """Once a second, attach again what another process has detached.

        Raises OSError if it cannot be attached; then the next turn tries again.
        """
        if self._attached and time.monotonic() < self._next_tick:
            return
        self._attached = False
        lost = self._program.lost()
        if not lost:
            self._attached = True
            return
        try:
            self._program.attach(self._cgroup_fd, lost)
        except BpfError as error:
            why = obstacles.not_attached(error, self._cgroup).lines[0]
            what = "another process has taken the programs away, and they cannot be attached again"
            raise OSError(error.errno, f"{what}: {why}") from None
        self._attached = True
        text = f"another process had taken {', '.join(lost)} away; attached again"
        self._say(text, always=True)
        self._log.write(text, notice=True)

    def _fail(self, error: OSError) -> None:
        """End the lease and log the error; the next turn tries again."""
        self._program.end_lease()
        self._files.changed = True
        why = error.strerror or str(error)
        if why != self._why_not:
            self._why_not = why
            self._say(f"nothing is granted: {why}", always=True)
            self._log.write(f"nothing is granted: {why}", notice=True)
            self._publish()

    def _answer(self, result: str) -> None:
        for client, said in self._questions:
            said_now = self.status()
            if result is _BUSY:
                said_now.update(in_force=False, why_not=BUSY)
            answer(client, said_now if said in (b"sync", b"status") else {})
        self._questions.clear()
        self._patience_ends = time.monotonic() + PATIENCE_S

    def _tick(self, result: str) -> None:
        self._next_tick = time.monotonic() + TICK_S
        self._consume()
        self._program.look_at_ports()
        _notify("WATCHDOG=1")
        if result is not _BUSY:
            self._files.recheck()

    def _wait(self) -> None:
        """Sleep until there is work, one second at most."""
        poll = select.poll()
        for fd in (self._watch.fd, self._wake_read, self._records_fd, *self._server.descriptors()):
            poll.register(fd, select.POLLIN)
        poll.register(self._watch.wake_fd, select.POLLPRI)
        poll.poll(max(0.0, self._next_tick - time.monotonic()) * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 1 << 12)
        self._consume()

    def status(self) -> dict[str, Any]:
        """Return the status, whose fields pybindd.py describes."""
        table = self._table
        return {
            "pid": os.getpid(),
            "started": start_time(os.getpid()),
            "version": __version__,
            "since": self._since,
            "cgroup": self._cgroup,
            "netns_cookie": self._netns_cookie,
            "in_force": self._why_not is None,
            "why_not": self._why_not,
            "refuses_all": table.refuses_all or None,
            "left_all": table.left_all or None,
            "table": self._tables,
            "changed": self._changed,
            "flag_files": table.flag_count,
            "rule_files": table.rule_count,
            "lines": table.line_count,
            "left": [{"name": name, "why": why} for name, why in table.left[:LEFT_SHOWN]],
            "left_count": len(table.left),
            "unlogged": self._log.unlogged,
        }

    def _publish(self) -> None:
        try:
            write_status(self.status())
        except OSError as error:
            self._say(f"the status cannot be written: {error}", always=True)

    def _described(self) -> str:
        table = self._table
        if table.refuses_all or table.left_all:
            verb = "refused" if table.refuses_all else "left to pybind-helper"
            return f"everything is {verb}: {table.refuses_all or table.left_all}"
        left = f", {len(table.left)} left to pybind-helper" if table.left else ""
        entries = "1 entry" if table.size == 1 else f"{table.size} entries"
        return f"{entries} in force{left}"

    def _record(self, record: bytes) -> None:
        granted, line = line_of(record, self._numbers)
        self._log.write(line, notice=not granted)
        self._say(line)

    def _say(self, text: str, always: bool = False) -> None:
        if self._verbose or always:
            with contextlib.suppress(OSError):
                print(f"pybindd: {text}", file=sys.stderr, flush=True)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _read_again(self, *_: object) -> None:
        self._files.read_everything()


def _clock() -> int:
    """Return the clock of the lease, in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _notify(text: str) -> None:
    """Send a message to systemd, if systemd started this process (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.setblocking(False)
            to.sendto(text.encode(), path.replace("@", "\0", 1))
