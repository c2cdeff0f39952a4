# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the helper as a user: the only source of decisions in pybindctl.

The helper judges the process that starts it. So root asks for another user in
a forked child that becomes this user for good before it starts a helper.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import select
import signal
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from .. import diagnose, helper
from ..errors import HelperUnusable, PybindError
from ..model import Address, Reply, Step
from .errors import AdminError, Failed, NeedsRoot

_PATIENCE_S = 30  # beside a tenth of a second for each address: a helper takes 1 ms
_ID_MAX = 0xFFFFFFFE  # the one above means "leave it" to setresuid(2)


class Identity(NamedTuple):
    """A user as the kernel will see a process of his.

    name: of his account, or None where the number has none. groups: the
    supplementary ones but gid.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str | None

    def __str__(self) -> str:
        return f"uid {self.uid} ({self.name})" if self.name else f"uid {self.uid}"


def identity_of(user: str | int | None) -> Identity:
    """Return who a user is: an account's name, a number, or None for the caller.

    The caller has the groups of his process, others those of a new login. A
    number without an account (a container's, systemd's DynamicUser=) counts as
    a user whose only group has the same number. Raises AdminError.
    """
    uid = os.getuid() if user is None else _uid(user)
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        entry = None
    if uid == os.getuid():
        gid, groups = os.getgid(), os.getgroups()
    elif entry is None:
        gid, groups = uid, []
    else:
        gid, groups = entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)
    name = entry.pw_name if entry else None
    return Identity(uid, gid, tuple(sorted(set(groups) - {gid})), name)


def _uid(user: str | int) -> int:
    if isinstance(user, int) or re.fullmatch("[0-9]{1,10}", user):
        if 0 <= int(user) <= _ID_MAX:
            return int(user)
    else:
        with contextlib.suppress(KeyError, ValueError):
            return pwd.getpwnam(user).pw_uid
    raise AdminError(f"no user {user!r}: give an account's name or a number (see: getent passwd)")


def ask(who: Identity, addresses: Sequence[Address]) -> list[Reply]:
    """Return ask_as() for an identity."""
    return ask_as(who.uid, who.gid, who.groups, addresses)


def ask_as(uid: int, gid: int, groups: Sequence[int], addresses: Sequence[Address]) -> list[Reply]:
    """Return the helper's answer to each address, for a process of this user and groups.

    Nothing is bound. The caller himself is asked about directly, with the
    groups that his process has. Raises NeedsRoot, Failed, HelperUnusable.
    """
    for number in (uid, gid, *groups):
        if not 0 <= number <= _ID_MAX:
            raise AdminError(f"{number} is no uid or gid: they are 0 to {_ID_MAX}")
    if uid == os.getuid() and (uid != 0 or _are_ours(gid, groups)):
        return [helper.check(address) for address in addresses]
    if os.geteuid() != 0:
        raise NeedsRoot(
            f"only root can ask for uid {uid}: the helper judges the process that starts it",
            "as root: the same command (or run it as that user, without --user)",
        )
    return _ask_in_child(uid, gid, groups, addresses)


def _are_ours(gid: int, groups: Sequence[int]) -> bool:
    return gid == os.getgid() and set(groups) | {gid} == set(os.getgroups()) | {gid}


def _ask_in_child(
    uid: int, gid: int, groups: Sequence[int], addresses: Sequence[Address]
) -> list[Reply]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(writing, uid, gid, groups, addresses)
    os.close(writing)
    try:
        data = _read(reading, _PATIENCE_S + len(addresses) / 10)
    finally:
        os.close(reading)
        _end(pid)
    return _decode(data, uid)


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


def _child(
    writing: int, uid: int, gid: int, groups: Sequence[int], addresses: Sequence[Address]
) -> NoReturn:
    """Become the user, ask, write the answers and end: never returns into the parent's code."""
    try:
        answer: dict[str, object]
        try:
            _become(uid, gid, groups)
            answer = {"replies": [helper.check(address) for address in addresses]}
        except PybindError as error:
            answer = {"unusable": error.lines}
        except OSError as error:
            answer = {"failed": [f"cannot ask as uid {uid}: {error.strerror}"]}
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


def _decode(data: bytes, uid: int) -> list[Reply]:
    try:
        answer = json.loads(data)
    except ValueError:
        raise Failed(
            f"the child that asks as uid {uid} ended without an answer: try again"
        ) from None
    if "unusable" in answer:
        raise HelperUnusable(*answer["unusable"])
    if "failed" in answer:
        raise Failed(*answer["failed"])
    return [_reply(fields) for fields in answer["replies"]]


def _reply(fields: list[Any]) -> Reply:
    return Reply._make([*fields[:-1], tuple(Step(*step) for step in fields[-1])])
