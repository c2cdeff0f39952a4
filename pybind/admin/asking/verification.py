# SPDX-License-Identifier: GPL-3.0-or-later
"""What refuses whatever the files grant, and what the helper says after a change.

The one look that every command takes, so that none calls a host well on which
nobody can bind anything. Files are looked at for the cause and its repair; that
all is well is believed only of the helper.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ... import _wire, diagnose
from ...errors import HelperUnusable, PybindError
from ...model import Address, Reply
from ...paths import CONFIG_DIR, HELPER
from ...permissions import folders
from ...permissions.changing.state import State
from ...permissions.delegations import Listing, delegations
from ...permissions.errors import STATUS_INVALID, Failed
from ...permissions.folders import Trouble, path_of
from ...permissions.names import pieces
from ...permissions.rule import Rule
from ...permissions.spec import samples
from ...permissions.who import (
    EVERYONE,
    NOBODY,
    Identity,
    Who,
    everyone,
    identity_for,
    identity_of,
    rules_name,
)
from .. import output
from ..doctor import filecaps, installation
from .ask import ask

_SHOWN = 5
_EVERY_PORT_MAX = 16  # in a longer range the corners are asked about, and ports with flag files
_CONFIG_REASONS = (
    _wire.REASON_CONFIG_MISSING,
    _wire.REASON_CONFIG_UNSAFE,
    _wire.REASON_CONFIG_ERROR,
)


class Condition(NamedTuple):
    """What refuses, and what could not be found out."""

    refusing: list[Trouble]
    notes: list[str]


class Answer(NamedTuple):
    """What the helper said about one address."""

    address: Address
    reply: Reply

    @property
    def granted(self) -> bool:
        """Tell whether the port can be bound, as far as files and helper go."""
        return self.reply.reason == _wire.REASON_GRANTED

    @property
    def by_files(self) -> bool:
        """Tell whether the files grant it, be the helper capable or not."""
        return self.granted or self.reply.reason == _wire.REASON_NO_CAPABILITY


def host() -> Condition:
    """Look at what refuses everything to everybody: folders, helper, its capability."""
    refusing = folders.broken()
    broken = [one for one in installation.helper_file() if one.level == installation.BROKEN]
    asked = Condition([], []) if refusing or diagnose.replaceable(HELPER) else _asked()
    if asked.refusing or not broken:
        return Condition([*refusing, *asked.refusing], asked.notes)
    first = broken[0]
    repair = first.repair[0] if first.repair else ""
    return Condition([*refusing, Trouble(HELPER, 0, first.text, repair)], [])


def _asked() -> Condition:
    """Ask the helper as an ordinary user about a port that hardly anybody is granted."""
    address = Address(int(socket.AF_INET), bytes(4), 0, 1, False)
    try:
        if os.geteuid() == 0:
            reply = ask(identity_for(everyone()), [address])[0]
        else:
            reply = ask(identity_of(None), [address])[0]
    except HelperUnusable as error:
        found = _from_lines(error.lines)
        return Condition([found if found.repair else found._replace(repair=installation.ANEW)], [])
    except Failed as error:
        return Condition([], [error.lines[0]])
    if not reply.capable:
        return Condition([], []) if filecaps.read(HELPER) is None else _incapable()
    if reply.reason == _wire.REASON_CONFIG_ERROR:
        closed = folders.unsearchable(NOBODY, {NOBODY})
        if closed is None:
            text = f"could not be examined by the helper: {os.strerror(reply.cause)}"
            return Condition([Trouble(reply.name or CONFIG_DIR, 0, text, "")], [])
    return Condition([], [])


def _incapable() -> Condition:
    lines = diagnose.lost_capability()
    process = diagnose.own_status()
    if process.get("NoNewPrivs") == "1" or process.get("TracerPid", "0") != "0":
        return Condition([], [lines[0]])  # of this process, not of this host
    return Condition([_from_lines(lines)], [])


def _from_lines(lines: Sequence[str]) -> Trouble:
    found = installation.from_lines(installation.BROKEN, "helper", lines)
    return Trouble(HELPER, 0, found.text, found.repair[0] if found.repair else "")


def everything() -> Condition:
    """Look at host(), and at every permission file."""
    found = host()
    listing = delegations(progress=output.progress)
    for _ in listing.delegations:
        pass
    return of_listing(listing, found)


def for_user(who: Identity) -> Condition:
    """Look at host(), and at the permission files that are asked for one user."""
    found = host()
    listing = delegations(who)
    for _ in listing.delegations:
        pass
    return of_listing(listing, found)


def of_listing(listing: Listing, found: Condition) -> Condition:
    """Return a condition with what a listing found, whose delegations were all taken."""
    known = {trouble.name for trouble in found.refusing}
    more = [trouble for trouble in listing.refusing if trouble.name not in known]
    unseen = [f"{path} was not looked at: {why}" for path, why in listing.unseen]
    return Condition([*found.refusing, *more], [*found.notes, *unseen])


def concerning(found: Condition, whos: Iterable[Who]) -> Condition:
    """Return a condition without the rule files of others than these."""
    names = {rules_name(who, mark) for who in whos for mark in (False, True)}

    def concerns(trouble: Trouble) -> bool:
        return not trouble.name.startswith(("byuser/", "bygroup/")) or trouble.name in names

    return Condition([t for t in found.refusing if concerns(t)], found.notes)


def as_json(found: Condition) -> list[dict[str, object]]:
    """Return what refuses, for --json."""
    return [
        {
            "file": path_of(trouble.name),
            "line": trouble.line or None,
            "why": trouble.text,
            "repair": trouble.repair or None,
        }
        for trouble in found.refusing
    ]


def tell(found: Condition) -> int:
    """Print what refuses, each with its repair; returns 0, or the exit status for it."""
    for note in found.notes:
        output.tell("note", note)
    for name, line, text, repair in found.refusing[:_SHOWN]:
        where = path_of(name) + (f" line {line}" if line else "")
        output.tell("error", f"refuses: {where}: {text}")
        if repair:
            output.tell("repair", repair)
    more = len(found.refusing) - _SHOWN
    if more > 0:
        output.tell("note", f"{more} more; all of them: pybindctl lint")
    return status(found)


def status(found: Condition) -> int:
    """Return 0, or the exit status where something refuses."""
    return STATUS_INVALID if found.refusing else 0


def verify(
    who: Who, rules: Sequence[Rule], *, by_files: bool = False
) -> tuple[list[Answer], tuple[str, ...]]:
    """Return what the helper says to `who` now, and why it could not be asked, or not bind.

    by_files: what the files grant is the question, be the helper capable or not.
    """
    addresses = _questions(rules)
    try:
        replies = ask(_asked_as(who, rules), addresses)
    except PybindError as error:
        return [], ("not verified: " + error.lines[0], *error.lines[1:])
    answers = [Answer(*pair) for pair in zip(addresses, replies)]
    if not by_files and any(
        answer.reply.reason == _wire.REASON_NO_CAPABILITY for answer in answers
    ):
        return answers, _nobody_can_bind()
    return answers, ()


def _nobody_can_bind() -> tuple[str, ...]:
    found = host()
    if found.refusing:
        first = found.refusing[0]
        repair = (f"repair: {first.repair}",) if first.repair else ()
        return (f"nobody can bind it: {path_of(first.name)}: {first.text}", *repair)
    return ("not verified: " + (found.notes or ["the helper has no CAP_NET_BIND_SERVICE"])[0],)


def _asked_as(who: Who, rules: Sequence[Rule]) -> Identity:
    """Return whom to ask as: for everyone, somebody whom no flag file names."""
    if who.kind != EVERYONE:
        return identity_for(who)
    state, named = State(), set()
    for rule in rules:
        for placed in state.flags(rule.port_min, rule.port_max):
            entries = placed.access.entries
            named |= {placed.access.uid, placed.access.gid, *(ident for _, ident, _ in entries)}
    ident = next(number for number in range(NOBODY, 0, -1) if number not in named)
    return Identity(ident, ident, (), None)


def _questions(rules: Sequence[Rule]) -> list[Address]:
    """Return the addresses that stand for what rules cover."""
    state = State()
    addresses: list[Address] = []
    for rule in rules:
        for piece in pieces(rule):
            ports = {piece.port_min, piece.port_max}
            if piece.port_max - piece.port_min < _EVERY_PORT_MAX:
                ports.update(range(piece.port_min, piece.port_max + 1))
            flags = state.flags(piece.port_min, piece.port_max)
            ports.update([placed.flag.rule.port_min for placed in flags][:64])
            for port in sorted(ports):
                addresses.extend(samples(piece._replace(port_min=port, port_max=port)))
    return list(dict.fromkeys(addresses))
