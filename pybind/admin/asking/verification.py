# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for anything that refuses granted ports, and asks the helper after a change.

Every command takes this look, so that no command calls a host healthy where nobody can
bind anything. Files are read only for cause and repair. Only the helper's own answer
counts as proof that a port can be bound.
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
_EVERY_PORT_MAX = 16  # of a longer range only the ends, and ports with flag files, are asked
_CONFIG_REASONS = (
    _wire.REASON_CONFIG_MISSING,
    _wire.REASON_CONFIG_UNSAFE,
    _wire.REASON_CONFIG_ERROR,
)


class Condition(NamedTuple):
    """The state of a host. refusing: files that refuse. notes: what could not be looked at."""

    refusing: list[Trouble]
    notes: list[str]


class Answer(NamedTuple):
    """The helper's reply about one address."""

    address: Address
    reply: Reply

    @property
    def granted(self) -> bool:
        """Tell whether the files grant it and the helper could bind it."""
        return self.reply.reason == _wire.REASON_GRANTED

    @property
    def by_files(self) -> bool:
        """Tell whether the files grant it, even if the helper has no capability."""
        return self.granted or self.reply.reason == _wire.REASON_NO_CAPABILITY


def host() -> Condition:
    """Look for anything that refuses all ports to all users: folders, helper, its capability."""
    refusing = folders.broken()
    broken = [one for one in installation.helper_file() if one.level == installation.BROKEN]
    asked = Condition([], []) if refusing or diagnose.replaceable(HELPER) else _asked()
    if asked.refusing or not broken:
        return Condition([*refusing, *asked.refusing], asked.notes)
    first = broken[0]
    repair = first.repair[0] if first.repair else ""
    return Condition([*refusing, Trouble(HELPER, 0, first.text, repair)], [])


def _asked() -> Condition:
    """Ask the helper as an ordinary user about port 1; only its state matters, not the answer."""
    address = Address(int(socket.AF_INET), bytes(4), 0, 1, False)
    try:
        if os.geteuid() == 0:
            reply = ask(identity_for(everyone()), [address])[0]
        else:
            reply = ask(identity_of(None), [address])[0]
    except HelperUnusable as error:
        trouble = _from_lines(error.lines)
        if not trouble.repair:
            trouble = trouble._replace(repair=installation.ANEW)
        return Condition([trouble], [])
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
        return Condition([], [lines[0]])  # the fault of this process, not of the host
    return Condition([_from_lines(lines)], [])


def _from_lines(lines: Sequence[str]) -> Trouble:
    finding = installation.from_lines(installation.BROKEN, "helper", lines)
    return Trouble(HELPER, 0, finding.text, finding.repair[0] if finding.repair else "")


def everything() -> Condition:
    """Return host(), with every permission file that refuses."""
    condition = host()
    return of_listing(delegations(progress=output.progress).taken(), condition)


def for_user(who: Identity) -> Condition:
    """Return host(), with the refusing files that the helper asks for one user."""
    condition = host()
    return of_listing(delegations(who).taken(), condition)


def of_listing(listing: Listing, condition: Condition) -> Condition:
    """Return a condition with the refusing files of a listing added.

    All delegations of the listing must have been taken.
    """
    known = {trouble.name for trouble in condition.refusing}
    more = [trouble for trouble in listing.refusing if trouble.name not in known]
    unseen = [f"{path} was not looked at: {why}" for path, why in listing.unseen]
    return Condition([*condition.refusing, *more], [*condition.notes, *unseen])


def concerning(condition: Condition, whos: Iterable[Who]) -> Condition:
    """Return a condition without rule files of users and groups other than these."""
    names = {rules_name(who, mark) for who in whos for mark in (False, True)}

    def concerns(trouble: Trouble) -> bool:
        return not trouble.name.startswith(("byuser/", "bygroup/")) or trouble.name in names

    return Condition([t for t in condition.refusing if concerns(t)], condition.notes)


def as_json(condition: Condition) -> list[dict[str, object]]:
    """Return the refusing files for --json."""
    return [
        {
            "file": path_of(trouble.name),
            "line": trouble.line or None,
            "why": trouble.text,
            "repair": trouble.repair or None,
        }
        for trouble in condition.refusing
    ]


def tell(condition: Condition) -> int:
    """Print the refusing files with their repairs; returns the exit status()."""
    for note in condition.notes:
        output.tell("note", note)
    for trouble in condition.refusing[:_SHOWN]:
        output.tell("error", f"refuses: {_at(trouble.where, trouble.text)}")
        if trouble.repair:
            output.tell("repair", trouble.repair)
    more = len(condition.refusing) - _SHOWN
    if more > 0:
        output.tell("note", f"{more} more; all of them: pybindctl lint")
    return status(condition)


def _at(where: str, text: str) -> str:
    """Return the text with its place before it, unless the text begins with that."""
    return text if text.startswith(where) else f"{where}: {text}"


def status(condition: Condition) -> int:
    """Return STATUS_INVALID if something refuses, else 0."""
    return STATUS_INVALID if condition.refusing else 0


def verify(
    who: Who, rules: Sequence[Rule], *, by_files: bool = False
) -> tuple[list[Answer], tuple[str, ...]]:
    """Ask the helper about `rules`, as `who`; return its answers, and lines about a problem.

    The lines say why the helper could not be asked, or why nobody can bind. by_files: ask
    only what the files grant: a helper without its capability is no problem then.
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
    condition = host()
    if condition.refusing:
        first = condition.refusing[0]
        repair = (f"repair: {first.repair}",) if first.repair else ()
        return (f"no user can bind it: {_at(path_of(first.name), first.text)}", *repair)
    reason = (condition.notes or ["the helper has no CAP_NET_BIND_SERVICE"])[0]
    return ("not verified: " + reason,)


def _asked_as(who: Who, rules: Sequence[Rule]) -> Identity:
    """Return the Identity to ask as; for everyone, a number that no flag file names."""
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
    """Return addresses to ask about: enough to see whether rules count, not all of them."""
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
