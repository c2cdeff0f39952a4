# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the helper as a user: the only source of decisions in pybindctl.

The helper judges the process that starts it. So root asks for another user in a child
process that becomes this user (child.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ... import helper
from ...model import ID_MAX, Address, Reply, Step
from ...permissions.errors import AdminError, NeedsRoot
from ...permissions.who import Identity
from . import child

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
    replies = child.answer_as(
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
