# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers each bind(2) that the filter reports: by a helper, or by the kernel itself.

Every doubt leaves the call to the kernel (CONTINUE), which decides by the program's own
rights. That is safe because the program itself has no capability.
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
from ..errors import HelperUnusable
from ..model import Address, Reply
from ..plan import limits_exclude
from . import kernel, words
from .sandboxes import Sandboxes
from .verbose import Lines
from .wanted import address_of, decode, is_bound, restricts_itself

_HELPERS_MAX = 64  # at once; each takes four descriptors with what it is started by
_WAITING_MAX = 256  # further notifications stay with the kernel
_OTHER_FDS = 24  # what else may be open
_SYSCTL = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_GONE = (errno.ESRCH, errno.ENOENT)  # of a thread that was killed meanwhile
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


class Binds:
    """The binds of one tree of processes.

    listener_fd: of the seccomp filter (borrowed). limits: as PYBIND_PORTS, or None.
    poll: where the helpers' pidfds are registered.
    """

    def __init__(
        self, listener_fd: int, limits: bytes | None, lines: Lines, poll: select.poll
    ) -> None:
        self._listener_fd = listener_fd
        self._limits = limits
        self._lines = lines
        self._poll = poll
        self._sysctl_fd = -1
        with contextlib.suppress(OSError):
            self._sysctl_fd = os.open(_SYSCTL, os.O_RDONLY | os.O_CLOEXEC)
        self._sandboxes = Sandboxes()
        self._waiting: list[_Pending] = []
        self._running: dict[int, _Running] = {}  # by pidfd of the helper
        self._helpers_max, self._waiting_max = _room()

    @property
    def full(self) -> bool:
        """Tell whether no further notification should be taken now."""
        return len(self._waiting) >= self._waiting_max

    def is_helper(self, pid: int) -> bool:
        """Tell whether a child is a helper, whose pidfd will bring its end."""
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
            self._lines.say(words.left_to_kernel(note.tid, f"{type(error).__name__}: {error}"))
        if pending is None:
            self._respond(note.id, None)
        else:
            self._waiting.append(pending)
            self._start_helpers()

    def _examine(self, note: kernel.Notification) -> _Pending | None:
        """Return a bind for a helper, or None for one that the kernel may decide."""
        if restricts_itself(note):
            self._note_sandbox(note)
            return None
        try:
            wanted = decode(note, lambda at, length: kernel.read_memory(note.tid, at, length))
        except OSError as error:
            if error.errno not in (errno.EFAULT, *_GONE):
                self._lines.say(words.cannot_read(note.tid, error))
            return None
        if wanted is None or not self._privileged(wanted.port):
            return None
        try:
            if self._sandboxes.may_hold(note.tid):
                self._lines.say(words.in_landlock(note.tid))
                return None
            socket_fd = _socket_of(note.tid, wanted.fd)
        except OSError as error:
            if error.errno not in (errno.EBADF, *_GONE):
                self._lines.say(words.cannot_take(wanted.family, wanted.port, error))
            return None
        try:
            address = address_of(socket_fd, wanted)
            # Only now it is sure that memory and socket were the waiting thread's.
            if not kernel.is_waiting(self._listener_fd, note.id):
                return None
            excluded = limits_exclude(self._limits, address)
            if excluded is not None:
                self._lines.say(words.of_word(address, _NOT_LISTED[excluded]))
                return None
            pending = _Pending(note.id, address, socket_fd)
            socket_fd = -1
            return pending
        except OSError:  # not a socket, as the kernel will say
            return None
        finally:
            if socket_fd >= 0:
                os.close(socket_fd)

    def _note_sandbox(self, note: kernel.Notification) -> None:
        try:
            self._sandboxes.enter(note.tid)
        except OSError:
            # A thread that was killed enters nothing. Of one that waits, everything is
            # to be feared.
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
            except (OSError, HelperUnusable) as failure:  # no process, no descriptor left
                self._tell(pending.address, failure)
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

    def helper_ended(self, pidfd: int) -> None:
        """Answer with what a helper, which has ended, did."""
        pending, pid, reply_socket = self._running.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        os.waitpid(pid, 0)
        self._finish(pending, reply_socket)
        self._start_helpers()

    def _finish(self, pending: _Pending, reply_socket: socket.socket) -> None:
        outcome: Reply | OSError | HelperUnusable
        error: int | None
        with contextlib.closing(reply_socket):
            try:
                outcome = reply = helper.finish(reply_socket)
                error = reply.error
                if error and reply.reason != _wire.REASON_KERNEL:
                    error = None  # refused by the rules: the kernel says EACCES itself
            except (HelperUnusable, OSError) as failure:
                # It died unheard, and the socket itself tells whether it was bound.
                outcome = failure
                error = 0 if is_bound(pending.socket_fd, pending.address) else None
        # Our copy goes before the answer: the program's close(2) must really close.
        os.close(pending.socket_fd)
        self._tell(pending.address, outcome)
        self._respond(pending.cookie, error)

    def _tell(self, address: Address, outcome: Reply | OSError | HelperUnusable) -> None:
        """Say what became of a bind, to who asked; the words must not end the whole tree."""
        if not self._lines.wanted:
            return
        try:
            if isinstance(outcome, Reply):
                self._lines.say(*words.of_reply(address, outcome))
            else:
                self._lines.say(*words.without_helper(address, outcome))
        except Exception as error:  # noqa: BLE001 # as of a file that went meanwhile
            self._lines.say(f"cannot tell what became of a bind: {type(error).__name__}: {error}")

    def _respond(self, cookie: int, error: int | None) -> None:
        """Answer with an errno (0: bound); None lets the kernel decide."""
        with contextlib.suppress(FileNotFoundError):  # ENOENT: killed while it waited
            if error is None:
                kernel.let_continue(self._listener_fd, cookie)
            else:
                kernel.answer(self._listener_fd, cookie, error)


def _room() -> tuple[int, int]:
    """Fit helpers and queue into the descriptors that are allowed; returns both maxima."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return _HELPERS_MAX, _WAITING_MAX
    room = max(hard - _OTHER_FDS, 5)
    helpers_max = min(_HELPERS_MAX, room // 5)
    return helpers_max, min(_WAITING_MAX, room - 4 * helpers_max)


def _socket_of(tid: int, fd: int) -> int:
    """Return a duplicate (owned by the caller) of a thread's descriptor."""
    pidfd = kernel.open_thread(tid)
    try:
        return kernel.get_fd(pidfd, fd)
    finally:
        os.close(pidfd)
