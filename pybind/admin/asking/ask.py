# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the helper as a user: the only source of decisions in pybindctl.

The helper judges the process that starts it. So root asks for another user in a forked
child, which becomes this user for good.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

from ... import helper
from ...errors import HelperUnusable, PybindError
from ...model import ID_MAX, Address, Reply, Step
from ...permissions.errors import AdminError, Failed, NeedsRoot
from ...permissions.who import Identity

_PATIENCE_S = 30  # and 0.1 s for each address; a helper takes 1 ms


def ask(
    identity: Identity, addresses: Sequence[Address], *, root: str | None = None
) -> list[Reply]:
    """Return the helper's reply for each address, asked as this identity; binds nothing.

    Questions about the caller need no child, and count with the groups of this process.
    root: a folder with its own permission files and helper, asked in place of the host's.
    Raises NeedsRoot, Failed, HelperUnusable, AdminError.
    """
    for number in (identity.uid, identity.gid, *identity.groups):
        if not 0 <= number <= ID_MAX:
            raise AdminError(f"{number} is no uid or gid: they are 0 to {ID_MAX}")
    is_caller = identity.uid == os.getuid() and (identity.uid != 0 or _are_ours(identity))
    if is_caller and root is None:
        return [helper.check(address) for address in addresses]
    if os.geteuid() != 0:
        raise NeedsRoot(
            f"only root can ask for uid {identity.uid}: the helper judges the process that "
            "starts it; users ask about themselves without --user",
        )
    replies = answer_as(
        identity,
        lambda: [helper.check(address) for address in addresses],
        root=root,
        patience_s=_PATIENCE_S + len(addresses) / 10,
    )
    return [_reply(fields) for fields in replies]


def _are_ours(identity: Identity) -> bool:
    """Tell whether gid and groups are those of this process."""
    gid = identity.gid
    return gid == os.getgid() and {gid, *identity.groups} == {gid, *os.getgroups()}


def _reply(fields: list[Any]) -> Reply:
    return Reply(*[*fields[:-1], tuple(Step(*step) for step in fields[-1])])


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
