# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses a program that the supervised mode cannot serve, before the program starts."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os

from ..diagnose import binds_alone
from ..errors import Refused
from ..model import Request, Target
from . import kernel

_SHELL = "/bin/sh"
YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_OF_LIMITS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_YAMA_ADMIN_ONLY = 2  # Documentation/admin-guide/LSM/Yama.rst


def check(request: Request, program: Target) -> None:
    """Raise Refused, with the reason and any repair, if the mode cannot serve the program."""
    name = os.fsdecode(program.path)
    if request.depth is not None:
        raise Refused(
            f"--depth cannot be had for {name!r} ({program.kind}): the supervised mode serves "
            "every descendant, because a seccomp filter cannot be taken off",
            "without --depth the program is served",
        )
    if binds_alone() or os.geteuid() == 0:
        raise Refused(
            "the supervised mode does not serve root's programs: their processes "
            "of other users would be judged as root",
            "root's programs bind privileged ports themselves: leave --mode away",
        )
    if program.unsupervisable:
        raise Refused(f"cannot supervise {name!r}, {program.kind}: {program.unsupervisable}")
    if not kernel.supported_machine():
        raise Refused(f"the supervised mode does not know this machine ({kernel.machine()})")
    _check_yama()
    _check_proc()
    probe()
    kernel.load_libseccomp()
    if importlib.util.find_spec("prctl") is None:
        raise Refused(
            "the supervised mode needs the Python module prctl",
            "repair: sudo apt-get install python3-prctl",
        )


def _check_proc() -> None:
    """Refuse a /proc of another pid namespace, because our PIDs name other processes there."""
    if os.readlink("/proc/self") != str(os.getpid()):
        raise Refused(
            "/proc is that of another pid namespace, and the supervised mode needs "
            "the /proc of its own namespace",
            "mount /proc in this namespace: mount -t proc proc /proc",
            "or make the namespace with a /proc of its own: unshare --mount-proc ...",
        )


def probe() -> None:
    """Try on a child what the supervisor has to do: take a descriptor, read memory.

    Raises Refused, with a repair, if the kernel or a filter forbids one of the two.
    Raises Refused, too, if no process can be started. Without /bin/sh nothing is tried.
    """
    ends = os.pipe()
    try:
        # After a change of ids the kernel lets nobody look into this process or a fork of
        # this process. posix_spawn(3) executes another program, which may be looked into.
        actions = [(os.POSIX_SPAWN_DUP2, ends[0], 0), (os.POSIX_SPAWN_CLOSE, ends[1])]
        child = os.posix_spawn(_SHELL, [_SHELL, "-c", "read end"], {}, file_actions=actions)
    except FileNotFoundError:
        os.close(ends[1])
        return
    except OSError as error:
        os.close(ends[1])
        raise Refused(*cannot_start(error)) from None
    finally:
        os.close(ends[0])
    try:
        _look_into(child)
    finally:
        os.close(ends[1])
        with contextlib.suppress(ChildProcessError):  # if SIGCHLD is ignored, the kernel reaps
            os.waitpid(child, 0)


def _look_into(child: int) -> None:
    call = "pidfd_getfd"
    try:
        pidfd = os.pidfd_open(child)
        try:
            os.close(kernel.get_fd(pidfd, 0))
        finally:
            os.close(pidfd)
        call = "process_vm_readv"
        kernel.read_memory(child, 0, 1)
    except OSError as error:
        if error.errno == errno.EFAULT:  # the call is allowed: nothing is at address 0
            return
        raise Refused(
            f"the supervised mode cannot look into the program: {call}(2) is denied here "
            f"({error.strerror}), most often by the seccomp profile of a container",
            "docker, podman: --cap-add SYS_PTRACE",
            "or, for a program that takes open sockets: pybind --listen ...",
        ) from None


def _check_yama() -> None:
    try:
        with open(YAMA, encoding="ascii") as file:
            scope = int(file.read())
    except (OSError, ValueError):
        return
    if scope >= _YAMA_ADMIN_ONLY:
        repair = "repair: sudo sysctl kernel.yama.ptrace_scope=1"
        if scope > _YAMA_ADMIN_ONLY:  # until the next boot nobody can change the scope
            repair = "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d, and start the host anew"
        raise Refused(
            f"{YAMA} is {scope}: no process of a user may look into another, so the supervised "
            "mode cannot take the program's socket",
            repair,
        )


def cannot_start(error: Exception) -> tuple[str, ...]:
    """Return lines that say why this mode cannot start its processes."""
    if isinstance(error, OSError):
        text = f"{error.filename or 'system call'}: {error.strerror}"
    else:  # RuntimeError: no thread can start; MemoryError has no text
        text = str(error) or "no memory is left"
    first = f"cannot start the supervisor: {text}"
    if isinstance(error, OSError) and error.errno not in _OF_LIMITS:
        return (first,)
    return first, "the supervisor has the same limits as the program: ulimit -u, -n, -v and -d"


def too_old() -> tuple[str, ...]:
    """Return lines about a kernel without WAIT_KILLABLE_RECV."""
    return (
        f"the supervised mode needs Linux 5.19 (seccomp's WAIT_KILLABLE_RECV); this is "
        f"{os.uname().release}",
        "without WAIT_KILLABLE_RECV a signal at the wrong moment makes bind(2) fail falsely",
    )


def already_there() -> tuple[str, ...]:
    """Return lines about a second listener in one tree of processes (EBUSY)."""
    return (
        "a supervisor is already there (Device or resource busy): the kernel allows one seccomp "
        "listener in a tree of processes",
        "start the program without a second pybind: the first pybind serves the program",
    )
