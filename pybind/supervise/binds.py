# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers each bind(2) that the filter reports: by a helper, or by the kernel itself.

In doubt the kernel gets the call back (CONTINUE), and decides by the program's own
rights. That is safe, because the program itself has no capability.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import socket
from typing import NamedTuple

from .. import _wire, helper
from ..diagnose import FIRST_UNPRIVILEGED
from ..errors import HelperUnusable
from ..model import Address, Reply
from ..plan import limits_exclude
from . import kernel, verbose
from .reported import Sandboxes, address_of, decode, is_bound, restricts_itself

_HELPERS_MAX = 64  # at the same time; each needs up to four descriptors
_WAITING_MAX = 256  # further notifications wait in the kernel
_OTHER_FDS = 24  # descriptors for everything else
_GONE = (errno.ESRCH, errno.ENOENT)  # the thread was killed meanwhile
_NOT_LISTED = {
    "port": _wire.WORD_PORT,
    "protocol": _wire.WORD_PROTOCOL,
    "address": _wire.WORD_ADDRESS,
}


class _Pending(NamedTuple):
    """A privileged bind that waits for its helper.

    cookie: of the notification. socket_fd: a duplicate of the program's socket (owned).
    """

    cookie: int
    address: Address
    socket_fd: int


class _Running(NamedTuple):
    pending: _Pending
    pid: int
    reply: socket.socket


class Binds:
    """The binds of one tree of processes.

    listener_fd: of the seccomp filter (borrowed). limits: in the form of PYBIND_PORTS,
    or None. poll: this class registers the pidfds of its helpers there.
    """

    def __init__(
        self, listener_fd: int, limits: bytes | None, lines: verbose.Lines, poll: select.poll
    ) -> None:
        self._listener_fd = listener_fd
        self._limits = limits
        self._lines = lines
        self._poll = poll
        self._sysctl_fd = -1
        with contextlib.suppress(OSError):
            self._sysctl_fd = os.open(FIRST_UNPRIVILEGED, os.O_RDONLY | os.O_CLOEXEC)
        self._sandboxes = Sandboxes()
        self._waiting: list[_Pending] = []
        self._running: dict[int, _Running] = {}  # by pidfd of the helper
        self._helpers_max, self._waiting_max = _room()

    @property
    def full(self) -> bool:
        """Tell whether no further notification should be taken now."""
        return len(self._waiting) >= self._waiting_max

    def is_helper(self, pid: int) -> bool:
        """Tell whether a child is a helper. poll(2) reports its end by the pidfd."""
        return any(running.pid == pid for running in self._running.values())

    def has_helper(self, pidfd: int) -> bool:
        """Tell whether a descriptor is the pidfd of a helper."""
        return pidfd in self._running

    def take(self) -> None:
        """Take one notification, and answer it or start a helper for it."""
        try:
            note = kernel.receive(self._listener_fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # killed meanwhile
                return
            raise
        pending = None
        try:
            pending = self._examine(note)
        except Exception as error:  # noqa: BLE001 # one call must not end the whole tree
            self._say_odd(f"a bind of process {note.tid} is left to the kernel", error)
        if pending is None:
            self._respond(note.id, None)
        else:
            self._waiting.append(pending)
            self._start_helpers()

    def _examine(self, note: kernel.Notification) -> _Pending | None:
        """Return a bind for a helper, or None for a call that the kernel may decide."""
        if restricts_itself(note):
            self._note_sandbox(note)
            return None
        try:
            wanted = decode(note, lambda at, length: kernel.read_memory(note.tid, at, length))
        except OSError as error:
            if error.errno not in (errno.EFAULT, *_GONE):
                self._lines.say(verbose.cannot_read(note.tid, error))
            return None
        if wanted is None or not self._privileged(wanted.port):
            return None
        try:
            if self._sandboxes.may_hold(note.tid):
                self._lines.say(verbose.in_landlock(note.tid))
                return None
            socket_fd = kernel.take_fd(note.tid, wanted.fd)
        except OSError as error:
            if error.errno not in (errno.EBADF, *_GONE):
                self._lines.say(verbose.cannot_take(wanted.family, wanted.port, error))
            return None
        try:
            address = address_of(socket_fd, wanted)
            # A thread that still waits is the one whose memory and socket were read: its
            # id cannot be another thread's by now.
            if not kernel.is_waiting(self._listener_fd, note.id):
                return None
            excluded = limits_exclude(self._limits, address)
            if excluded is not None:
                self._lines.say(verbose.of_word(address, _NOT_LISTED[excluded]))
                return None
            pending = _Pending(note.id, address, socket_fd)
            socket_fd = -1
            return pending
        except OSError:  # the descriptor is no socket: the kernel will refuse
            return None
        finally:
            if socket_fd >= 0:
                os.close(socket_fd)

    def _note_sandbox(self, note: kernel.Notification) -> None:
        try:
            self._sandboxes.enter(note.tid)
        except OSError:
            # A killed thread restricts nothing. But if the thread still waits, its process
            # is unknown: any process may be the restricted one.
            if kernel.is_waiting(self._listener_fd, note.id):
                self._sandboxes.distrust_all()

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
            except Exception as failure:  # noqa: BLE001 # no process, descriptor or memory left
                os.close(pending.socket_fd)
                self._tell(pending.address, failure)
                self._respond(pending.cookie, None)
                continue
            if not self._watch(_Running(pending, pid, reply)):
                os.waitpid(pid, 0)  # no descriptor is left: wait for this one
                self._finish(pending, reply)

    def _watch(self, running: _Running) -> bool:
        """Have poll(2) tell of a helper's end; False where that cannot be had."""
        pidfd = -1
        try:
            pidfd = os.pidfd_open(running.pid)
            self._poll.register(pidfd, select.POLLIN)
            self._running[pidfd] = running
        except (OSError, MemoryError):
            if pidfd >= 0:
                self._poll.unregister(pidfd)
                os.close(pidfd)
            return False
        return True

    def helper_ended(self, pidfd: int) -> None:
        """Answer the bind of a helper that has ended."""
        pending, pid, reply_socket = self._running.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        os.waitpid(pid, 0)
        self._finish(pending, reply_socket)
        self._start_helpers()

    def _finish(self, pending: _Pending, reply_socket: socket.socket) -> None:
        outcome: Reply | Exception
        error: int | None = None
        with contextlib.closing(reply_socket):
            try:
                outcome = reply = helper.finish(reply_socket)
                if not reply.error or reply.reason == _wire.REASON_KERNEL:
                    error = reply.error  # else the rules refuse: the kernel will say EACCES
            except Exception as failure:  # noqa: BLE001 # it must be answered all the same
                # The helper died without a reply: only the socket tells whether it is bound.
                outcome = failure
                with contextlib.suppress(MemoryError):
                    error = 0 if is_bound(pending.socket_fd, pending.address) else None
        # Our duplicate must be closed before the answer: it would keep the port bound after
        # the program's own close(2).
        os.close(pending.socket_fd)
        self._tell(pending.address, outcome)
        self._respond(pending.cookie, error)

    def _tell(self, address: Address, outcome: Reply | Exception) -> None:
        """With -v, print the result of a bind. An error here must not end the whole tree."""
        if not self._lines.wanted:
            return
        try:
            if isinstance(outcome, Reply):
                self._lines.say(*verbose.of_reply(address, outcome))
            elif isinstance(outcome, (OSError, HelperUnusable)):
                self._lines.say(*verbose.without_helper(address, outcome))
            else:
                raise outcome
        except Exception as error:  # noqa: BLE001 # such as a file that was removed meanwhile
            self._say_odd(f"cannot tell what became of a bind of port {address.port}", error)

    def _say_odd(self, what: str, error: Exception) -> None:
        """Say what no words were made for; where no memory is left, nothing."""
        with contextlib.suppress(MemoryError):
            self._lines.say(f"{what}: {type(error).__name__}: {error}")

    def _respond(self, cookie: int, error: int | None) -> None:
        """Answer with an errno (0: bound); None lets the kernel decide."""
        with contextlib.suppress(FileNotFoundError):  # ENOENT: killed while it waited
            if error is None:
                kernel.let_continue(self._listener_fd, cookie)
            else:
                kernel.answer(self._listener_fd, cookie, error)


def _room() -> tuple[int, int]:
    """Return how many helpers and waiting binds the limit of descriptors allows.

    Raises the soft limit to the hard one.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return _HELPERS_MAX, _WAITING_MAX
    room = max(hard - _OTHER_FDS, 5)
    helpers_max = min(_HELPERS_MAX, room // 5)
    return helpers_max, min(_WAITING_MAX, room - 4 * helpers_max)
