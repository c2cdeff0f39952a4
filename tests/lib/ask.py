# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks pybind's and authbind's helper the same request, as one of several callers.

Each caller has a driver process, which becomes the caller once and then starts both
helpers for every request. So a request costs two helpers and nothing else.
"""

import contextlib
import errno
import multiprocessing
import os
import socket
import struct
import sys
from typing import NamedTuple

import support
from reference import Request

from pybind import _wire

AUTHBIND_HELPER = "/usr/lib/authbind/helper"
# authbind's helper exits with an errno: REFUSALS come from its files, RESULTS from bind(2).
REFUSALS = {errno.EPERM, errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
RESULTS = {0, errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EINVAL}


class Answer(NamedTuple):
    """What a helper answered. authbind's helper gives only `granted` and `error`."""

    granted: bool
    error: int
    name: str = ""
    reason: int = 0
    line: int = 0
    fault: int = 0


def _open(request):
    family = socket.AF_INET if len(request.address) == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if request.protocol == "tcp" else socket.SOCK_DGRAM
    return socket.socket(family, kind)


def _checked(answer, sock, request):
    """Return the answer, after checking it against the state of the socket."""
    port = request.port if answer.granted and answer.error == 0 else 0
    if sock.getsockname()[1] != port:
        raise AssertionError(f"{answer}, but the socket is {sock.getsockname()}")
    return answer


def ask_authbind(request: Request) -> Answer:
    """Ask authbind's helper as this process; numbers in argv are as in sockaddr_in(6)."""
    address = request.address
    port = f"{socket.htons(request.port):04x}"
    if len(address) == 4:
        argv = ["helper", f"{int.from_bytes(address, sys.byteorder):08x}", port]
    else:
        argv = ["helper", address.hex(), port, "6"]
    with _open(request) as sock:
        actions = [
            (os.POSIX_SPAWN_DUP2, sock.fileno(), 0),
            (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
        ]
        pid = os.posix_spawn(AUTHBIND_HELPER, argv, {}, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code not in REFUSALS | RESULTS:
            raise AssertionError(f"authbind's helper: exit status {code}")
        return _checked(Answer(code in RESULTS, code), sock, request)


def ask_pybind(request: Request) -> Answer:
    """Ask pybind-helper as this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, _open(request) as sock:
        head = (_wire.MAGIC, _wire.VERSION, _wire.OP_BIND, sock.family, 0)
        tail = (socket.htons(request.port), 0, 0, request.scope, request.address.ljust(16, b"\0"))
        ours.send(struct.pack(_wire.REQUEST_FORMAT, *head, *tail))
        actions = [
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), _wire.REPLY_FD),
            (os.POSIX_SPAWN_DUP2, sock.fileno(), _wire.SOCKET_FD),
        ]
        pid = os.posix_spawn(support.HELPER, ["pybind-helper"], {}, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != 0:
            raise AssertionError(f"pybind-helper: exit status {code}")
        reply = struct.unpack(_wire.REPLY_FORMAT, ours.recv(4096))
        if reply[2] == _wire.REASON_NO_CAPABILITY:
            raise AssertionError(_wire.REASON_TEXTS[reply[2]])
        granted = reply[2] in (_wire.REASON_GRANTED, _wire.REASON_KERNEL)
        name = reply[8].rstrip(b"\0").decode()
        answer = Answer(granted, reply[3], name, reply[2], reply[5], reply[6])
        return _checked(answer, sock, request)


def _ask_both(request):
    try:
        return ask_authbind(request), ask_pybind(request)
    except (AssertionError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def _drive(caller, connection):
    """Become the caller for good, and answer lists of requests until the other end closes."""
    os.setgroups(caller.groups)
    os.setresgid(caller.gid, caller.gid, caller.gid)
    os.setresuid(caller.uid, caller.uid, caller.uid)
    with contextlib.suppress(EOFError):
        while True:
            connection.send([_ask_both(request) for request in connection.recv()])


def start_drivers(callers):
    """Return {caller: connection}. A connection takes a list of requests and gives the answers.

    An answer is the pair (authbind's Answer, ours), or the text of what went wrong.
    The driver processes end with this process.
    """
    context = multiprocessing.get_context("fork")
    connections = {}
    for caller in callers:
        connections[caller], end = context.Pipe()
        context.Process(target=_drive, args=(caller, end), daemon=True).start()
        end.close()
    return connections
