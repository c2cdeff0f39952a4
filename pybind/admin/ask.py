# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the helper as a user: the only source of decisions in pybindctl.

The helper judges the process that starts it: root asks for another user in a
child that has become this user (child.py).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import helper
from ..model import Address, Reply, Step
from . import child
from .errors import AdminError, NeedsRoot

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
    replies = child.answer_as(
        uid,
        gid,
        groups,
        lambda: [helper.check(address) for address in addresses],
        patience_s=_PATIENCE_S + len(addresses) / 10,
    )
    return [_reply(fields) for fields in replies]


def _are_ours(gid: int, groups: Sequence[int]) -> bool:
    return gid == os.getgid() and set(groups) | {gid} == set(os.getgroups()) | {gid}


def _reply(fields: list[Any]) -> Reply:
    return Reply(*[*fields[:-1], tuple(Step(*step) for step in fields[-1])])
