# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives the installed helper over its protocol, as an ordinary user.

Run as a program (by UID, through support.as_user). It reads a list of requests, a
Python literal, from stdin and prints a literal list of answers. A request is a dict:
    op, family, addr (text), port, protocol: the fields; or raw: bytes to send
    socket: (family, type, protocol) of descriptor 3, or None
    twice: bind the socket to a free port first
An answer is a dict of the reply's fields, bound (getsockname), steps; or None.
"""

import ast
import contextlib
import os
import socket
import sys

sys.path.insert(0, os.environ["PYBIND_PACKAGE"])

from wire import decode, encode

from pybind.paths import HELPER


def ask(request):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made = request.get("socket")
    sock = socket.socket(*made) if made else None
    if sock and request.get("twice"):
        sock.bind(("127.0.0.1" if made[0] == socket.AF_INET else "::1", 0))
    ours.send(encode(request))
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 30)]
    if sock:
        actions.append((os.POSIX_SPAWN_DUP2, sock.fileno(), 31))
    actions.append((os.POSIX_SPAWN_DUP2, 30, 0))
    actions.append((os.POSIX_SPAWN_DUP2, 31, 3) if sock else (os.POSIX_SPAWN_CLOSE, 3))
    pid = os.posix_spawn(
        HELPER, request.get("argv", ["pybind-helper"]), request.get("env", {}), file_actions=actions
    )
    theirs.close()
    data = ours.recv(1 << 20)
    status = os.waitpid(pid, 0)[1]
    if not data:
        return {"reply": None, "status": status}
    answer = decode(data)
    if sock:
        answer["bound"] = None
        with contextlib.suppress(OSError, ValueError, TypeError):
            answer["bound"] = sock.getsockname()[:2]
        sock.close()
    return answer


if __name__ == "__main__":
    requests = ast.literal_eval(sys.stdin.read())
    print([ask(request) for request in requests])
