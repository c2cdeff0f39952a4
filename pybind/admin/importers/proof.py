# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the helper's answers after an import with the other program's answers.

cells.py chooses the questions. The helper answers them by the copy of the files that
rehearsal.py makes, or after --apply by /etc/pybind. A difference may have a name in
pybind(5), or the plan has told of it when it left something out. Any other difference is
a fault.
"""

from __future__ import annotations

import shlex
import socket
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ... import _wire, diagnose
from ...errors import HelperUnusable
from ...model import MAPPED, Address, Reply
from ...paths import CONFIG_DIR
from ...permissions.access import named
from ...permissions.changing.state import State
from ...permissions.reading import scan
from ...permissions.rule import Rule
from ...permissions.spec import spec_text
from ...permissions.who import (
    EVERYONE,
    GROUP,
    USER,
    Identity,
    Who,
    group_of,
    identity_for,
    rules_name,
    user_of,
)
from ..asking import ask
from .cells import Cell, cells, covers, joined
from .plan import Plan
from .source import OldAnswer, Source

_GRANTED = (_wire.REASON_GRANTED, _wire.REASON_NO_CAPABILITY)
_IPV4 = int(socket.AF_INET)
_WORDS = {
    "mapped-granted": "a mapped address is judged as the IPv4 address inside it",
    "mapped-refused": "a mapped address is judged as the IPv4 address inside it",
    "wildcard-needs-both": ":: is refused unless 0.0.0.0 is granted too (Java, Go and Node.js "
    "servers bind ::)",
}
Asked = tuple[Who, Address]


class Difference(NamedTuple):
    """Questions of one user that are answered differently now, for one reason.

    granted: the answer now.
    name: of the difference in pybind(5), or "".
    why: the explanation, or "" if there is none.
    by: the file that decides here, and its result.
    boxes: the addresses and ports.
    """

    who: Who
    granted: bool
    name: str
    why: str
    by: str
    boxes: list[Rule]

    @property
    def specs(self) -> list[str]:
        """Return the addresses and ports as SPECs."""
        return [spec_text(box) for box in self.boxes]

    @property
    def reason(self) -> str:
        """Return name and explanation; "" if nothing explains the difference."""
        return f"{self.name}: {self.why}" if self.name else self.why

    @property
    def commands(self) -> list[str]:
        """Return the commands (after sudo) that keep the old grant."""
        if self.granted or self.name not in _WORDS:
            return []
        size = 4 if self.name == "wildcard-needs-both" else 12
        commands = []
        for box in self.boxes:
            ends = (bytes(4), bytes(4)) if size == 4 else (box.addr_min[12:], box.addr_max[12:])
            spec = spec_text(box._replace(family=_IPV4, addr_min=ends[0], addr_max=ends[1]))
            commands.append(f"pybindctl grant {shlex.quote(self.who.text)} {shlex.quote(spec)}")
        return commands


class Questions:
    """The questions about an import, and the answers before it."""

    def __init__(self, source: Source, plan: Plan) -> None:
        """Choose the questions by the grants there, and the files as the plan leaves them."""
        self._source = source
        self._lost = plan.lost
        self._old: dict[Asked, OldAnswer] = {}
        self._before: dict[Asked, bool] = {}
        self._set_cells(_all_cells(source, plan.state))

    def _set_cells(self, chosen: list[Cell]) -> None:
        self.cells = chosen
        self._identities = _identities(chosen)
        asked = {(cell.who, each): None for cell in chosen for each in _judged(cell.address)}
        asked.update(((cell.who, cell.address), None) for cell in chosen)
        self._asked = list(asked)

    def ask_before(self) -> None:
        """Ask the other program, and the helper about the files before the import.

        Raises Failed, HelperUnusable.
        """
        self._ask_other()
        if next(scan(), None) is None:
            return  # without files everything is refused
        for asked, reply in self._replies(None).items():
            # v4_half: only 0.0.0.0 is refused, so :: itself is granted.
            self._before[asked] = reply.reason in _GRANTED or reply.v4_half

    def renew(self, state: State) -> None:
        """Choose the questions again, if the files are not as they were planned.

        A question that was not asked before the import counts as refused then. Raises
        Failed.
        """
        now = _all_cells(self._source, state)
        if now != self.cells:
            self._set_cells(now)
            self._ask_other()

    def _ask_other(self) -> None:
        for who, addresses in _by_who(asked for asked in self._asked if asked not in self._old):
            old = self._source.ask(self._identities[who], addresses)
            for address, answer in zip(addresses, old):
                why = answer.why_not or self._why_lost(who, address)
                self._old[who, address] = answer._replace(why_not=why if answer.granted else "")

    def _why_lost(self, who: Who, address: Address) -> str:
        """Return why the plan left out the permission that granted this to `who`, or ""."""
        for lost in self._lost:
            if lost.who in (None, who) and covers(lost.rule, address):
                return f"left out: {lost.note.why}"
        return ""

    def compare(self, root: str | None = None) -> list[Difference]:
        """Ask the helper, and return the differences. root: as for ask.ask().

        Raises Failed; HelperUnusable, also if the helper has no capability.
        """
        by_reason: dict[tuple[Who, bool, str, str, str], list[Rule]] = {}
        replies = self._replies(root)
        if root is None and not all(reply.capable for reply in replies.values()):
            raise HelperUnusable(*diagnose.lost_capability())
        for cell in self.cells:
            reply = replies[cell.who, cell.address]
            difference = self._difference(cell, reply)
            if difference:
                granted = reply.reason in _GRANTED
                by = "" if any(difference) else _by(reply)
                by_reason.setdefault((cell.who, granted, *difference, by), []).append(cell.box)
        every = {key[1:]: boxes for key, boxes in by_reason.items() if key[0].kind == EVERYONE}
        return [
            Difference(*key, joined(boxes))
            for key, boxes in by_reason.items()
            if key[0].kind != GROUP or not set(boxes) <= set(every.get(key[1:], ()))
        ]

    def _replies(self, root: str | None) -> Mapping[Asked, Reply]:
        by_question: dict[Asked, Reply] = {}
        for who, addresses in _by_who(self._asked):
            replies = ask.ask(self._identities[who], addresses, root=root)
            by_question.update(zip(((who, address) for address in addresses), replies))
        return by_question

    def _difference(self, cell: Cell, reply: Reply) -> tuple[str, str] | None:
        """Return name and reason of a difference; None if the answer is the same as before."""
        who, address = cell.who, cell.address
        granted = reply.reason in _GRANTED
        judged = [(who, each) for each in _judged(address)]
        before = all(self._before.get(asked, False) for asked in judged)
        if granted == (self._old[who, address].granted or before):
            return None
        lost = [self._old[asked].why_not for asked in judged]
        if granted != all(self._was_carried(asked) for asked in judged):
            return "", ""
        if address.addr.startswith(MAPPED):
            name = "mapped-granted" if granted else "mapped-refused"
            return name, _WORDS[name]
        if not granted and len(judged) == 2 and not self._was_carried(judged[1]):
            return "wildcard-needs-both", _WORDS["wildcard-needs-both"]
        if granted and len(judged) == 2:
            return "", "a file that was here before grants :: or 0.0.0.0, and the import the other"
        return "", next(filter(None, lost), "")

    def _was_carried(self, asked: Asked) -> bool:
        old = self._old[asked]
        return (old.granted and not old.why_not) or self._before.get(asked, False)


def _judged(address: Address) -> list[Address]:
    """Return the addresses that the helper judges for one: two for ::, the IPv4 one if mapped."""
    if address.addr.startswith(MAPPED):
        return [address._replace(family=_IPV4, addr=address.addr[12:])]
    if address.addr == bytes(16):
        return [address, address._replace(family=_IPV4, addr=bytes(4))]
    return [address]


def _by_who(asked: Iterable[Asked]) -> Iterable[tuple[Who, list[Address]]]:
    by_who: dict[Who, list[Address]] = {}
    for who, address in asked:
        by_who.setdefault(who, []).append(address)
    return by_who.items()


def _by(reply: Reply) -> str:
    reason = _wire.REASON_GRANTED if reply.reason in _GRANTED else reply.reason
    text = _wire.REASON_TEXTS.get(reason, f"reason {reason}")
    line = f" line {reply.line}" if reply.line else ""
    return f"{CONFIG_DIR}/{reply.name}{line}: {text}" if reply.name else text


def _all_cells(source: Source, state: State) -> list[Cell]:
    """Return the cells of all users and groups that have a permission, there or here."""
    boxes: dict[Who, list[Rule]] = {}
    flags = list(source.decided)
    for claim in source.claims:
        boxes.setdefault(claim.who, []).append(claim.rule)
    for placed in state.flags(1, source.port_max):
        flags.append(placed.flag.rule)
        for who in named(placed.access):
            boxes.setdefault(who, []).append(placed.flag.rule)
    ports = sorted({rule.port_min for rule in source.decided})
    for owner in state.owners():
        touched = [rule for rule in state.rules(owner.name) if _has_one(ports, rule)]
        if touched:
            who = user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident)
            boxes.setdefault(who, []).extend(touched)
    chosen: list[Cell] = []
    for who, rules in boxes.items():
        if who.kind != EVERYONE and who.ident == 0:
            continue  # every new file has permissions for root and its group: these are no grants
        rules.extend(_own_rules(who, state))
        asked = [
            rule._replace(port_max=min(rule.port_max, source.port_max))
            for rule in rules
            if rule.port_min <= source.port_max
        ]
        chosen += cells(who, asked, flags)
    return chosen


def _has_one(ports: list[int], rule: Rule) -> bool:
    at = bisect_left(ports, rule.port_min)
    return at < len(ports) and ports[at] <= rule.port_max


def _own_rules(who: Who, state: State) -> Iterable[Rule]:
    """Return the rules of a user and their groups, or of a group."""
    whos = [who] if who.kind != EVERYONE else []
    if who.kind == USER:
        identity = identity_for(who)
        whos += map(group_of, (identity.gid, *identity.groups))
    for each in whos:
        for reserved in (False, True):
            yield from state.rules(rules_name(each, reserved))


def _identities(chosen: Iterable[Cell]) -> dict[Who, Identity]:
    """Return the Identity to ask as for each Who.

    For everyone, and for a group, it has a uid that no file names.
    """
    whos = dict.fromkeys(cell.who for cell in chosen)
    users = {who: identity_for(who) for who in whos if who.kind == USER}
    taken = {who.ident for who in whos if who.kind != EVERYONE}
    taken.update(number for each in users.values() for number in (each.gid, *each.groups))
    stranger = next(number for number in range(65534, 0, -1) if number not in taken)
    identities: dict[Who, Identity] = dict(users)
    for who in whos:
        if who.kind == GROUP:
            identities[who] = Identity(stranger, who.ident, (), None)
        elif who.kind == EVERYONE:
            identities[who] = Identity(stranger, stranger, (), None)
    return identities
