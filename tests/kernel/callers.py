# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes with real credentials, each in the control group that pybindd judges.

A driver becomes its caller for good. For each request it binds a plain socket, which
the kernel judges, and asks pybind-helper too, unless it is in a user namespace.
"""

import contextlib
import ctypes
import errno
import multiprocessing
import os
import pathlib
import socket

import ask
import prctl
from model import Foreign
from reference import Caller, Request

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
REFUSED = errno.EACCES
# Errors of bind(2) that come only after the privilege check has passed.
ALLOWED = {0, errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EINVAL}


def bind_plainly(request: Request) -> bool:
    """Bind as this process; tell whether the kernel allowed the port."""
    family = socket.AF_INET if len(request.address) == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if request.protocol == "tcp" else socket.SOCK_DGRAM
    text = socket.inet_ntop(family, request.address)
    where = (
        (text, request.port) if family == socket.AF_INET else (text, request.port, 0, request.scope)
    )
    with socket.socket(family, kind) as sock:
        try:
            sock.bind(where)
        except OSError as error:
            if error.errno not in ALLOWED | {REFUSED}:
                raise AssertionError(f"bind: {error}") from None
            return error.errno != REFUSED
    return True


def become(caller: Caller) -> None:
    """Become the caller for good; root keeps no capability."""
    os.setgroups(caller.groups)
    os.setresgid(caller.gid, caller.gid, caller.gid)
    os.setresuid(caller.uid, caller.uid, caller.uid)
    if caller.uid == 0:
        prctl.cap_effective.limit()
        prctl.cap_permitted.limit()


def enter_user_namespace(maps="0 0 4294967295") -> None:
    """Enter a new user namespace. maps: uid and gid map, written by a child that stays outside."""
    ours, theirs = os.pipe()
    pid = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.read(ours, 1)
        for name in ("uid_map", "gid_map"):
            pathlib.Path(f"/proc/{pid}/{name}").write_text(maps + "\n")
        os._exit(0)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.close(theirs)
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def enter_network_namespace() -> None:
    """Enter a new network namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _answer(request: Request, helper: bool):
    try:
        kernel = bind_plainly(request)
        return kernel, ask.ask_pybind(request) if helper else None
    except (AssertionError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def _drive(caller: Caller, cgroup: str, connection) -> None:
    pathlib.Path(cgroup, "cgroup.procs").write_text("0")
    if isinstance(caller, Foreign):
        enter_user_namespace()
    become(caller)
    connection.send("ready")
    helper = not isinstance(caller, Foreign)
    with contextlib.suppress(EOFError):
        while True:
            connection.send([_answer(request, helper) for request in connection.recv()])


def start_drivers(callers, cgroup):
    """Return a connection for each caller, which takes requests and gives (kernel, Answer).

    Start the drivers before the programs are loaded: a forked copy of a link would keep
    the programs alive.
    """
    context = multiprocessing.get_context("fork")
    connections = []
    for caller in callers:
        ours, end = context.Pipe()
        context.Process(target=_drive, args=(caller, cgroup, end), daemon=True).start()
        end.close()
        assert ours.recv() == "ready"
        connections.append(ours)
    return connections
