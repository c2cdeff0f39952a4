# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a question as another user: in a forked child that becomes this user for good."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .. import diagnose
from ..errors import HelperUnusable, PybindError
from .errors import Failed


def answer_as(
    uid: int,
    gid: int,
    groups: Sequence[int],
    work: Callable[[], object],
    *,
    folder: str = "/",
    patience_s: float = 30,
) -> Any:
    """Return what work() returns, by way of JSON, in a process of this user.

    folder: its working directory, entered before the rights are given away.
    Raises Failed; HelperUnusable for what work() raises of it.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(writing, uid, gid, groups, work, folder)
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
            f"the child that asks as uid {uid} ended without an answer: try again"
        ) from None
    if "unusable" in answer:
        raise HelperUnusable(*answer["unusable"])
    if "failed" in answer:
        raise Failed(answer["failed"])
    return answer["result"]


def _read(reading: int, patience_s: float) -> bytes:
    """Return all that comes until the other end closes, or what came until patience ends."""
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
    """End the child: the user may signal it, and one that he stopped must not keep us."""
    # By pidfd, and either may find it gone, for where SIGCHLD is ignored.
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
        os.waitpid(pid, 0)


def _child(
    writing: int,
    uid: int,
    gid: int,
    groups: Sequence[int],
    work: Callable[[], object],
    folder: str,
) -> NoReturn:
    """Become the user, work, write the answer and end: never returns into the parent's code."""
    try:
        answer: dict[str, object]
        try:
            os.chdir(folder)
            _become(uid, gid, groups)
            answer = {"result": work()}
        except PybindError as error:
            answer = {"unusable": error.lines}
        except OSError as error:
            where = f" in {error.filename}" if error.filename else ""
            answer = {"failed": f"cannot ask as uid {uid}{where}: {error.strerror}"}
        with open(writing, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _become(uid: int, gid: int, groups: Sequence[int]) -> None:
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # Dropping the uid drops every capability, unless securebits(7) say otherwise.
    if uid != 0 and int(diagnose.own_status()["CapPrm"], 16):
        raise PybindError(f"uid {uid} would keep root's capabilities here (see: capsh --print)")
