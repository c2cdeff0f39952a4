# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks pybind-helper: one process, one request, one reply.

helpers/protocol.h has the wire format. This module only passes the answer on.
"""

from __future__ import annotations

import errno
import fcntl

from . import _wire
from ._lean import posix, signal, socket, struct
from .errors import HelperUnusable
from .model import Address, Reply, Step
from .paths import HELPER, REINSTALL

_HEAD_FORMAT = "=IHH"  # magic, version, reason: the bytes that no version changes
_HEAD_SIZE = struct.calcsize(_HEAD_FORMAT)
_SPARE_FD = 10  # above the helper's descriptors 0 to 3, so that no dup2(2) overwrites another
_STEP_SIZE = struct.calcsize(_wire.STEP_FORMAT)
_REPLY_SIZE = struct.calcsize(_wire.REPLY_FORMAT)
_CHECK_SIZE = _REPLY_SIZE + 4 + _wire.TRACE_MAX * _STEP_SIZE


def check(address: Address) -> Reply:
    """Ask whether the caller may bind `address`; binds nothing.

    Port 0 is never granted, but the reply tells whether the helper is capable.
    Raises HelperUnusable.
    """
    protocol = socket.IPPROTO_UDP if address.udp else socket.IPPROTO_TCP
    return _ask(_encode(_wire.OP_CHECK, address, protocol), None)


def bind(address: Address, sock: socket.socket) -> Reply:
    """Have the helper bind `sock` (borrowed) to `address`.

    The reply's error is 0 or the errno for bind(). Raises HelperUnusable; then only
    getsockname(2) tells whether the socket is bound.
    """
    return _ask(_encode(_wire.OP_BIND, address, 0), sock.fileno())


def _encode(op: int, address: Address, protocol: int) -> bytes:
    return struct.pack(
        _wire.REQUEST_FORMAT,
        _wire.MAGIC,
        _wire.VERSION,
        op,
        address.family,
        protocol,
        socket.htons(address.port),
        0,
        0,
        address.scope_id,
        address.addr,
    )


def start_bind(address: Address, socket_fd: int) -> tuple[int, socket.socket]:
    """Start a helper that binds `socket_fd` (borrowed); does not wait for the helper.

    Returns the helper's pid, which the caller has to wait for, and the socket (owned by
    the caller) that finish() reads. Raises HelperUnusable.
    """
    return _start(_encode(_wire.OP_BIND, address, 0), socket_fd)


def finish(ours: socket.socket) -> Reply:
    """Read the helper's reply from a socket (borrowed); blocks while the helper lives.

    Raises HelperUnusable.
    """
    return _decode(_received(ours))


def _received(ours: socket.socket) -> bytes:
    try:
        return ours.recv(_CHECK_SIZE + 1)
    except ConnectionError:  # the helper ended and had not read the request
        return b""


def _start(request: bytes, socket_fd: int | None) -> tuple[int, socket.socket]:
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise _no_descriptor() from None
        raise
    try:
        ours.send(request)
        return _spawn(theirs.fileno(), socket_fd), ours
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def _ask(request: bytes, socket_fd: int | None) -> Reply:
    pending = signal.sigpending()
    pid, ours = _start(request, socket_fd)
    status = None
    try:
        # This cannot block for ever: the helper's own alarm(2) ends the helper.
        data = _received(ours)
    finally:
        ours.close()
        try:  # noqa: SIM105 # contextlib is not for the launch path
            _, status = posix.waitpid(pid, 0)
        except ChildProcessError:  # our caller ignores SIGCHLD, so the kernel has reaped it
            pass
        # Where the caller blocks SIGCHLD, the helper's would stay pending over execve(2).
        if signal.SIGCHLD in signal.sigpending() - pending:
            signal.sigtimedwait([signal.SIGCHLD], 0)
    return _decode(data, status)


def _spawn(reply_fd: int, socket_fd: int | None) -> int:
    # Descriptors 1 and 2 are not left closed: libc would open /dev/null for them before
    # main() of a program with capabilities, and /dev/null may be missing or hang.
    wanted: list[tuple[int, tuple[int, ...]]] = [(reply_fd, (_wire.REPLY_FD, 1, 2))]
    if socket_fd is not None:
        wanted.append((socket_fd, (_wire.SOCKET_FD,)))
    actions, spare = [], []
    try:
        for fd, places in wanted:
            spare.append(_move_up(fd))
            actions += [(posix.POSIX_SPAWN_DUP2, spare[-1], place) for place in places]
        return posix.posix_spawn(HELPER, ["pybind-helper"], {}, file_actions=actions)
    except OSError as error:
        from . import diagnose  # only after a failure

        raise HelperUnusable(*diagnose.cannot_start(error.errno)) from error
    finally:
        for fd in spare:
            posix.close(fd)


def _move_up(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SPARE_FD)
    except OSError:
        raise _no_descriptor() from None


def _no_descriptor() -> HelperUnusable:
    limit = posix.sysconf("SC_OPEN_MAX")  # RLIMIT_NOFILE; importing takes a descriptor
    return HelperUnusable(
        f"no descriptor is left to start the helper with; the limit is {limit}",
        f"allow more: ulimit -n {max(64, 2 * limit)}",
    )


def _decode(data: bytes, status: int | None = None) -> Reply:
    if len(data) >= _HEAD_SIZE:
        magic, version, head = struct.unpack_from(_HEAD_FORMAT, data)
        if magic != _wire.MAGIC or version != _wire.VERSION or head == _wire.REASON_VERSION:
            raise HelperUnusable(
                f"{HELPER} is of another version than this command",
                "what has been running since before an upgrade: start it again",
                "repair: sudo " + REINSTALL,
            )
    if len(data) not in (_REPLY_SIZE, _CHECK_SIZE):
        from . import diagnose  # only after a failure

        raise HelperUnusable(*diagnose.died(status))
    _, _, reason, error, cause, line, fault, flags, name = struct.unpack_from(
        _wire.REPLY_FORMAT, data
    )
    return Reply(
        reason,
        error,
        cause,
        line,
        fault,
        bool(flags & _wire.FLAG_CAPABLE),
        bool(flags & _wire.FLAG_V4_HALF),
        bool(flags & _wire.FLAG_TRUNCATED),
        _text(name),
        _decode_trace(data[_REPLY_SIZE:]),
    )


def _decode_trace(data: bytes) -> tuple[Step, ...]:
    if not data:
        return ()
    (count,) = struct.unpack_from("=I", data)
    steps = []
    for result, v4_half, line, name in struct.iter_unpack(
        _wire.STEP_FORMAT, data[4 : 4 + min(count, _wire.TRACE_MAX) * _STEP_SIZE]
    ):
        steps.append(Step(result, bool(v4_half), line, _text(name)))
    return tuple(steps)


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode("ascii", "replace")
