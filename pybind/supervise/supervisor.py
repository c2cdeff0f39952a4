# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor: answers every bind(2) of the tree, and adopts its orphans.

One process, one loop. It lives as long as any process of the tree: they are
its children in the end, because it is their subreaper. No signal but SIGKILL
touches it; it left the terminal's session.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import select
import signal
import socket
import struct
from typing import NamedTuple

from .. import _wire, helper
from ..errors import HelperUnusable
from ..model import Address
from ..plan import limits_exclude
from . import kernel, words
from .messages import EXITED, RESUMED, STARTED, STOPPED, Report, is_stopped
from .sandboxes import Sandboxes
from .sockets import address_of, is_bound
from .wanted import decode, restricts_itself

_HELPERS_MAX = 64  # at once; each takes four descriptors with what it is started by
_WAITING_MAX = 256  # further notifications stay with the kernel
_OTHER_FDS = 24  # what else may be open
_SYSCTL = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_COLLECT_EVERY = 4096
_NOT_LISTED = {
    "port": _wire.WORD_PORT,
    "protocol": _wire.WORD_PROTOCOL,
    "address": _wire.WORD_ADDRESS,
}


class _Pending(NamedTuple):
    """A privileged bind that waits for its helper. socket_fd: ours, a duplicate."""

    cookie: int
    address: Address
    socket_fd: int


class _Running(NamedTuple):
    pending: _Pending
    pid: int
    reply: socket.socket


class Supervisor:
    """Serves one tree of processes.

    listener_fd: of the seccomp filter (owned). program_pid: our child, the
    program. front: the way to the front (owned); its end of file means that the
    front is gone. limits: as PYBIND_PORTS, or None. verbose_fd:
    where to report (owned), or -1.
    """

    def __init__(
        self,
        listener_fd: int,
        program_pid: int,
        front: Report,
        limits: bytes | None,
        verbose_fd: int,
    ) -> None:
        self._listener_fd = listener_fd
        self._program_pid = program_pid
        self._front: Report | None = front
        self._limits = limits
        self._verbose_fd = verbose_fd
        self._sysctl_fd = -1
        with contextlib.suppress(OSError):
            self._sysctl_fd = os.open(_SYSCTL, os.O_RDONLY | os.O_CLOEXEC)
        self._stops = 0  # told to the front, which has not yet gone on
        self._sandboxes = Sandboxes()
        self._waiting: list[_Pending] = []
        self._running: dict[int, _Running] = {}  # by pidfd of the helper
        self._helpers_max, self._waiting_max = _HELPERS_MAX, _WAITING_MAX
        self._poll = select.poll()
        self._listening: bool | None = True  # None: nobody is left to listen to

    def run(self) -> None:
        """Serve until the last process of the tree is gone."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        self._find_room()
        assert self._front is not None
        self._tell(STARTED, self._program_pid)
        for fd in (self._listener_fd, wake_read, self._front.fileno()):
            self._poll.register(fd, select.POLLIN)
        gc.collect()
        gc.freeze()
        gc.disable()  # a pause before RECV widens the window of HOSTILE case 59
        rounds = 0
        while self._reap():
            for fd, events in self._poll.poll():
                if fd == self._listener_fd:
                    self._on_listener(events)
                elif fd == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                elif fd in self._running:
                    self._on_helper(fd)
                else:
                    self._on_front()
            self._listen(len(self._waiting) < self._waiting_max)
            rounds += 1
            if rounds % _COLLECT_EVERY == 0:
                gc.collect()

    def _find_room(self) -> None:
        """Fit the queue into the descriptors that are allowed."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard != resource.RLIM_INFINITY:
            room = max(hard - _OTHER_FDS, 5)
            self._helpers_max = min(_HELPERS_MAX, room // 5)
            self._waiting_max = min(_WAITING_MAX, room - 4 * self._helpers_max)

    def _listen(self, wanted: bool) -> None:
        """Take notifications or leave them; gone listeners are not asked for again."""
        if self._listening is not None and self._listening != wanted:
            self._poll.modify(self._listener_fd, select.POLLIN if wanted else 0)
            self._listening = wanted

    def _reap(self) -> bool:
        """Collect the dead and the stopped; False when nobody is left."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if found is None:
                break
            if any(running.pid == found.si_pid for running in self._running.values()):
                break  # a helper: its pidfd brings it
            _, status = os.waitpid(found.si_pid, 0)
            if found.si_pid == self._program_pid:
                self._program_pid = 0
                self._tell(EXITED, status)
        if self._program_pid:
            with contextlib.suppress(ChildProcessError):
                stopped = os.waitid(os.P_PID, self._program_pid, os.WSTOPPED | os.WNOHANG)
                if stopped is not None:
                    self._stops += 1
                    self._tell(STOPPED, stopped.si_status)
        return True

    def _tell(self, kind: int, value: int) -> None:
        if self._front is not None:
            self._front.send(kind, value)

    def _on_front(self) -> None:
        """Forward a signal, or learn that the front is gone."""
        assert self._front is not None
        numbers = self._front.receive_signals()
        for number in numbers:
            if number == RESUMED:
                self._resume()
            elif self._program_pid:
                with contextlib.suppress(OSError):
                    os.kill(self._program_pid, number)
        if not numbers:
            self._poll.unregister(self._front.fileno())
            self._front.close()
            self._front = None
            # Killed before the program ended: who kills the front's pid means the program.
            if self._program_pid:
                os.kill(self._program_pid, signal.SIGKILL)

    def _resume(self) -> None:
        """Continue the program if only the front was continued, by `kill -CONT PID`.

        Not if it was stopped once more meanwhile: the front has yet to follow.
        """
        # In this order: a stop that comes after the look is one that _reap() counts.
        stopped = bool(self._program_pid) and is_stopped(self._program_pid)
        self._reap()
        self._stops -= 1
        if stopped and self._program_pid and self._stops == 0:
            os.kill(self._program_pid, signal.SIGCONT)

    def _on_listener(self, events: int) -> None:
        if not events & select.POLLIN:  # POLLHUP: no process has the filter any more
            self._poll.unregister(self._listener_fd)
            self._listening = None
            return
        try:
            note = kernel.receive(self._listener_fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # killed meanwhile
                return
            raise
        pending = None
        try:
            pending = self._examine(note)
        except (OSError, ValueError, StopIteration, struct.error):
            pending = None  # it died, hides its memory, or gave a bad address
        finally:
            if pending is None:
                self._respond(note.id, None)
        if pending is not None:
            self._waiting.append(pending)
            self._start_helpers()

    def _examine(self, note: kernel.Notification) -> _Pending | None:
        """Return a bind for a helper, or None for one that the kernel may decide.

        CONTINUE is safe for every doubt: the program itself has no capability.
        """
        if restricts_itself(note):
            self._sandboxes.enter(note.tid)
            return None
        wanted = decode(note, lambda at, length: kernel.read_memory(note.tid, at, length))
        if wanted is None or not self._privileged(wanted.port):
            return None
        if self._sandboxes.may_hold(note.tid):
            self._say(
                "a bind is left to the kernel: a process of the tree restricted itself "
                f"by Landlock, and process {note.tid} did so or may have inherited it"
            )
            return None
        pidfd = kernel.open_thread(note.tid)
        try:
            socket_fd = kernel.get_fd(pidfd, wanted.fd)
        finally:
            os.close(pidfd)
        try:
            address = address_of(socket_fd, wanted)
            # Only now it is sure that memory and socket were the waiting thread's.
            if not kernel.is_waiting(self._listener_fd, note.id):
                return None
            excluded = limits_exclude(self._limits, address)
            if excluded is not None:
                self._say(words.of_word(address, _NOT_LISTED[excluded]))
                return None
            pending = _Pending(note.id, address, socket_fd)
            socket_fd = -1
            return pending
        finally:
            if socket_fd >= 0:
                os.close(socket_fd)

    def _privileged(self, port: int) -> bool:
        try:
            return port < int(os.pread(self._sysctl_fd, 16, 0))
        except (OSError, ValueError):
            return port < 1024

    def _start_helpers(self) -> None:
        while self._waiting and len(self._running) < self._helpers_max:
            pending = self._waiting.pop(0)
            try:
                pid, reply = helper.start_bind(pending.address, pending.socket_fd)
            except (OSError, HelperUnusable) as failure:  # no process, no descriptor left
                self._say(*_lines(failure))
                os.close(pending.socket_fd)
                self._respond(pending.cookie, None)
                continue
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:  # no descriptor left: wait for this one
                os.waitpid(pid, 0)
                self._finish(pending, reply)
                continue
            self._running[pidfd] = _Running(pending, pid, reply)
            self._poll.register(pidfd, select.POLLIN)

    def _on_helper(self, pidfd: int) -> None:
        """Answer with what a helper, which has ended, did."""
        pending, pid, reply_socket = self._running.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        os.waitpid(pid, 0)
        self._finish(pending, reply_socket)
        self._start_helpers()

    def _finish(self, pending: _Pending, reply_socket: socket.socket) -> None:
        lines: tuple[str, ...] = ()
        with contextlib.closing(reply_socket):
            try:
                reply = helper.finish(reply_socket)
                error = reply.error
            except (HelperUnusable, OSError) as failure:
                reply, lines = None, _lines(failure)
                error = 0 if is_bound(pending.socket_fd, pending.address) else errno.EACCES
        # Our copy goes before the answer: the program's close(2) must really close.
        os.close(pending.socket_fd)
        refused = reply is not None and reply.reason != _wire.REASON_KERNEL and error != 0
        self._respond(pending.cookie, None if refused else error)
        if reply is not None:
            lines = (words.of_reply(pending.address, reply),)
        self._say(*lines)

    def _say(self, *lines: str) -> None:
        if self._verbose_fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._verbose_fd, "".join(f"pybind: {t}\n" for t in lines).encode())

    def _respond(self, cookie: int, error: int | None) -> None:
        """Answer with an errno (0: bound); None lets the kernel decide."""
        with contextlib.suppress(FileNotFoundError):  # ENOENT: killed while it waited
            if error is None:
                kernel.let_continue(self._listener_fd, cookie)
            else:
                kernel.answer(self._listener_fd, cookie, error)


def _lines(failure: OSError | HelperUnusable) -> tuple[str, ...]:
    if isinstance(failure, OSError):
        return (f"cannot ask the helper: {failure.strerror}",)
    return failure.lines
