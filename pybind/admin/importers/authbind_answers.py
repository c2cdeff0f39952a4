# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds what authbind would answer: takes authbind's steps in its own folder, as the user.

Like authbind's helper, this module asks the kernel by access(2) whether a file is
executable. So groups, access control lists and links count as they do for authbind. Only
root can ask.
"""

from __future__ import annotations

import os
import socket

from ...model import Address
from ...permissions.rule import Rule, address_name
from ...permissions.who import Identity
from ..asking import child
from .source import OldAnswer

# Name of a byuid file -> (rule, why it is not carried over, or "") for each of its lines.
Meanings = dict[str, list[tuple[Rule, str]]]
_HALF = 512  # from this port on, authbind looks for files with the '!'


def ask_as(
    root: str, meanings: Meanings, identity: Identity, addresses: list[Address]
) -> list[OldAnswer]:
    """Return authbind's answers to a process of this identity; only for root. Raises Failed."""

    def work() -> list[OldAnswer]:
        return [_answer(identity.uid, meanings, address) for address in addresses]

    # The child enters the folder while it is root, as authbind's helper does.
    patience_s = 30 + len(addresses) / 10
    fields = child.answer_as(identity, work, folder=root, patience_s=patience_s)
    return [OldAnswer(*each) for each in fields]


def _answer(uid: int, meanings: Meanings, address: Address) -> OldAnswer:
    mark = "!" if address.port >= _HALF else ""
    for name in _flag_names(mark, address):
        if os.access(name, os.X_OK):
            return OldAnswer(True)
        try:
            os.stat(name)
        except FileNotFoundError:
            continue
        except OSError:
            pass
        return OldAnswer(False)
    reasons = [why for rule, why in meanings.get(f"{mark}{uid}", []) if _covers(rule, address)]
    return OldAnswer(bool(reasons), "" if "" in reasons else next(iter(reasons), ""))


def _flag_names(mark: str, address: Address) -> list[str]:
    text = socket.inet_ntop(address.family, address.addr)
    spelled = [f"{text},"]
    if address.family == socket.AF_INET:
        spelled.insert(0, f"{text}:")
    else:
        spelled.append(address_name(address.addr, short=False) + ",")
    names = [f"byport/{mark}{address.port}"]
    return names + [f"byaddr/{mark}{word}{address.port}" for word in spelled]


def _covers(rule: Rule, address: Address) -> bool:
    return (
        rule.family == address.family
        and rule.port_min <= address.port <= rule.port_max
        and rule.addr_min <= address.addr <= rule.addr_max
    )
