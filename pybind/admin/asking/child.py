# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a function as another user, in a forked child that becomes this user for good."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from ...errors import HelperUnusable, PybindError
from ...permissions.errors import Failed
from ...permissions.who import Identity


def answer_as(
    identity: Identity,
    work: Callable[[], object],
    *,
    folder: str = "/",
    root: str | None = None,
    patience_s: float = 30,
) -> Any:
    """Run work() in a child of this identity; return its result, passed on as JSON.

    folder: the child's working directory, entered while the child is still root.
    root: the child's root directory (chroot(2)), or None.
    Raises Failed; HelperUnusable if work() raises it.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(writing, identity, work, folder, root)
    os.close(writing)
    try:
        data = _read(reading, patience_s)
    finally:
        os.close(reading)
        _end(pid)
    try:
        answer = json.loads(data)
    except ValueError:
        raise Failed(
            f"the child that asks as uid {identity.uid} ended without an answer: try again"
        ) from None
    if "unusable" in answer:
        raise HelperUnusable(*answer["unusable"])
    if "failed" in answer:
        raise Failed(*answer["failed"])
    return answer["result"]


def _read(reading: int, patience_s: float) -> bytes:
    """Return the bytes that come until the other end closes, at most for patience_s."""
    data = b""
    deadline = time.monotonic() + patience_s
    poll = select.poll()
    poll.register(reading)
    while poll.poll(max(0, deadline - time.monotonic()) * 1000):
        chunk = os.read(reading, 1 << 16)
        if not chunk:
            break
        data += chunk
    return data


def _end(pid: int) -> None:
    """Kill and reap the child. Its user can stop it, and must not make us wait."""
    # By pidfd: with SIGCHLD ignored, the child is gone and its pid may be another process.
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
        os.waitpid(pid, 0)


def _child(
    writing: int,
    identity: Identity,
    work: Callable[[], object],
    folder: str,
    root: str | None,
) -> NoReturn:
    """Become the user, call work(), write the answer and end; never returns."""
    try:
        answer: dict[str, object]
        try:
            _leave_the_terminal()
            _close_all_but(writing)
            with open("/proc/self/status", encoding="ascii", errors="replace") as status:
                os.chdir(folder)
                if root is not None:  # which has no /proc: hence `status` is open already
                    os.chroot(root)
                    os.chdir("/")
                _become(identity, status)
            answer = {"result": work()}
        except HelperUnusable as error:
            answer = {"unusable": error.lines}
        except PybindError as error:
            answer = {"failed": error.lines}
        except OSError as error:
            where = f" in {error.filename}" if error.filename else ""
            answer = {"failed": [f"cannot ask as uid {identity.uid}{where}: {error.strerror}"]}
        with open(writing, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _leave_the_terminal() -> None:
    """Keep root's terminal from the user.

    A program of the same user may stop and trace what runs as that user (ptrace(2)). With
    root's terminal as controlling terminal that is a way to type for root (TIOCSTI,
    ioctl_tty(2)); with it as a standard stream, to read what root types.
    """
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in range(3):
        os.dup2(null, fd)


def _close_all_but(kept: int) -> None:
    """Close root's descriptors, such as the lock; keep standard streams and `kept`."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd != kept:
            with contextlib.suppress(OSError):  # listdir() has closed its own already
                os.close(fd)


def _become(identity: Identity, status: TextIO) -> None:
    uid, gid = identity.uid, identity.gid
    os.setgroups(identity.groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # setresuid(2) away from root drops every capability, unless securebits forbid it
    # (capabilities(7)).
    held = next(line.split()[1] for line in status if line.startswith("CapPrm:"))
    if uid != 0 and int(held, 16):
        raise HelperUnusable(f"uid {uid} would keep root's capabilities here (see: capsh --print)")
