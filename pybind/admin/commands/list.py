# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl list: every delegation in one table, with the file and line it is from."""

from __future__ import annotations

import functools
import gc
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import click

from ...paths import FOLDERS
from ...permissions import reading
from ...permissions.access import (
    GROUP_OBJ,
    NAMED_GROUP,
    NAMED_USER,
    OTHER,
    USER_OBJ,
    Access,
    R,
    X,
    permits,
    read_access,
)
from ...permissions.names import Flag, Owner
from ...permissions.precedence import FlagIndex, in_force
from ...permissions.reading import Trouble
from ...permissions.rule import Line, Rule, addresses_text, ports_text
from ...permissions.who import GROUP, USER, Identity, Who, everyone, group_of, identity_of, user_of
from .. import output

_group_of, _user_of = functools.lru_cache(None)(group_of), functools.lru_cache(None)(user_of)
_NOTES_SHOWN = 5


class Delegation(NamedTuple):
    """One thing that somebody is granted. but: who is not, though `who` would mean him too.

    line: 0 for a flag file. flag: the flag file's name, None for a rule.
    """

    who: Who
    but: tuple[Who, ...]
    rule: Rule
    name: str
    line: int
    flag: Flag | None


class Listing(NamedTuple):
    """What list found. refusing: files that grant nothing, and why; full only at the end."""

    delegations: Iterator[Delegation]
    refusing: list[Trouble]
    flags: FlagIndex


def delegations(who: Identity | None = None, port: int | None = None) -> Listing:
    """Return all delegations, or those that can serve one user, or that cover one port."""
    refusing = reading.broken_folders()
    if refusing:
        return Listing(iter([]), refusing, FlagIndex([]))
    found = reading.survey()
    flags = FlagIndex(flag for flag, _ in found.flags)
    rows = itertools.chain(
        _of_flags(found.flags, who, refusing), _of_owners(found.owners, who, refusing)
    )
    closed = reading.unsearchable(who.uid, {who.gid, *who.groups}) if who else None
    if closed:
        folder, trouble = closed
        refusing.append(trouble)
        reached = FOLDERS[: FOLDERS.index(folder)] if folder else ()
        rows = itertools.chain(row for row in rows if row.name.partition("/")[0] in reached)
    if port is not None:
        rows = itertools.chain(
            row for row in rows if row.rule.port_min <= port <= row.rule.port_max
        )
    return Listing(rows, refusing, flags)


def _of_owners(
    owners: list[Owner], who: Identity | None, refusing: list[Trouble]
) -> Iterator[Delegation]:
    dead: set[bool] = set()  # for one user: whether the files with, or without, '!' go on
    for owner in output.progress(owners if who is None else _chain(owners, who), "reading"):
        if owner.reserved in dead:
            continue
        lines, troubles = _read(owner, who)
        if not troubles:
            yield from _of_lines(owner, lines)
            continue
        refusing.append(troubles[0])
        if who is not None:
            dead.add(owner.reserved)


def _of_flags(
    flags: list[tuple[Flag, Access | None]], who: Identity | None, refusing: list[Trouble]
) -> Iterator[Delegation]:
    noexec = {folder for folder in ("byport", "byaddr") if reading.noexec(folder)}
    for flag, access in flags:
        if access is None or flag.name.partition("/")[0] in noexec:
            why = "is no regular file" if access is None else "is on a noexec mount"
            refusing.append(Trouble(flag.name, 0, why, ""))
            continue
        for holder, but in _principals(access) if who is None else _own(access, who):
            yield Delegation(holder, but, flag.rule, flag.name, 0, flag)


def _own(access: Access, who: Identity) -> list[tuple[Who, tuple[Who, ...]]]:
    gids = {who.gid, *who.groups}
    return [(_user_of(who.uid), ())] if permits(access, who.uid, gids, X) else []


def _principals(access: Access) -> list[tuple[Who, tuple[Who, ...]]]:
    """Return whom a flag file is executable for, in the order of acl(5)."""
    found = access.effective()
    users: dict[int, bool] = {}
    groups: dict[int, bool] = {}
    others = False
    for (tag, ident), perm in found.items():
        can = bool(perm & X)
        if tag == USER_OBJ:
            users[access.uid] = can
        elif tag == NAMED_USER:
            users.setdefault(ident, can)
        elif tag in (NAMED_GROUP, GROUP_OBJ):
            gid = access.gid if tag == GROUP_OBJ else ident
            groups[gid] = groups.get(gid, False) or can
        elif tag == OTHER:
            others = can
    without_users = tuple(_user_of(uid) for uid, can in users.items() if uid and not can)
    without_groups = tuple(_group_of(gid) for gid, can in groups.items() if not can)
    rows: list[tuple[Who, tuple[Who, ...]]] = []
    if others:
        rows.append((everyone(), without_users + without_groups))
    if not others or without_groups:
        rows += [(_user_of(uid), ()) for uid, can in users.items() if can and uid]
        rows += [(_group_of(gid), without_users) for gid, can in groups.items() if can]
        if not rows and users.get(0):
            rows.append((_user_of(0), ()))
    return rows


def _chain(owners: list[Owner], who: Identity) -> list[Owner]:
    """Return the rule files that are looked at for one user, in the helper's order."""
    there = {owner.name: owner for owner in owners}
    groups = [who.gid, *(gid for gid in sorted(who.groups) if gid != who.gid)]
    names = [
        f"{folder}/{mark}{ident}"
        for mark in ("", "!")
        for folder, idents in (("byuser", [who.uid]), ("bygroup", groups))
        for ident in idents
    ]
    return [there[name] for name in names if name in there]


def _read(owner: Owner, who: Identity | None) -> tuple[list[Line], list[Trouble]]:
    path = reading.path_of(owner.name)
    try:
        lines, troubles = reading.read_rule_file(owner.name, path)
        if not troubles and who is not None:
            access = read_access(path)
            gids = {who.gid, *who.groups}
            if access and not permits(access, who.uid, gids, R):
                troubles = [Trouble(owner.name, 0, f"cannot be read by uid {who.uid}", "")]
    except FileNotFoundError:  # removed meanwhile
        return [], []
    except OSError as error:
        return [], [Trouble(owner.name, 0, f"cannot be read by you: {error.strerror}", "")]
    return lines, troubles


def _of_lines(owner: Owner, lines: Iterable[Line]) -> Iterator[Delegation]:
    who = _user_of(owner.ident) if owner.folder == "byuser" else _group_of(owner.ident)
    for number, _, what in lines:
        if not isinstance(what, Rule):
            continue
        for part in in_force(what, owner.reserved):
            yield Delegation(who, (), part, owner.name, number, None)


@click.command("list")
@click.option("--user", metavar="USER", help="Only what this account or uid is granted.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Only this port.")
@output.json_option
def list_command(user: str | None, port: int | None, as_json: bool) -> int:
    """Show every delegation: who, address, port, protocol, from which file and line.

    A flag file in byport or byaddr decides before rule files do, for everybody:
    where one stands before a rule, the row names it. Files that grant nothing
    because they are broken are named on standard error (see: pybindctl lint).
    To know whether a user may bind a port, ask: pybindctl check.
    """
    gc.disable()  # a million rows, and no cycles among them
    found = delegations(identity_of(user) if user is not None else None, port)
    if as_json:
        output.emit_json(
            delegations=(_as_object(row, found.flags) for row in found.delegations),
            refusing=map(_refusing_object, found.refusing),
        )
        return 0
    head = ("WHO", "ADDRESS", "PORT", "PROTOCOL", "FROM")
    rows = (_as_row(row, found.flags) for row in found.delegations)
    if not output.print_table(head, rows):
        output.say("nothing is granted")
    _note(found.refusing)
    return 0


def _refusing_object(trouble: Trouble) -> dict[str, object]:
    path = reading.path_of(trouble.name)
    return {"file": path, "line": trouble.line or None, "why": trouble.text}


def _note(refusing: list[Trouble]) -> None:
    for trouble in refusing[:_NOTES_SHOWN]:
        line = f" line {trouble.line}" if trouble.line else ""
        text = f"{reading.path_of(trouble.name)}{line}: {trouble.text}"
        click.echo(f"pybindctl: note: refuses: {text}", err=True)
    if refusing:
        more = len(refusing) - _NOTES_SHOWN
        rest = f"{more} more; " if more > 0 else ""
        click.echo(f"pybindctl: {rest}to repair, see: pybindctl lint", err=True)


def _as_row(row: Delegation, index: FlagIndex) -> tuple[str, ...]:
    who = row.who.text
    if row.but:
        who += " but " + ", ".join(other.text for other in row.but)
    place = f"{row.name} line {row.line}" if row.line else row.name
    shadow = index.shadow(row.rule, row.flag)
    if shadow.flags:
        names = ", ".join(flag.name for flag in shadow.flags[:2])
        names += " ..." if shadow.flags[2:] else ""
        place += f" (not in force: {names} decides first)" if shadow.whole else f" (after {names})"
    protocol = row.rule.protocol or "both"
    return who, addresses_text(row.rule), ports_text(row.rule), protocol, place


def _as_object(row: Delegation, index: FlagIndex) -> dict[str, object]:
    shadow = index.shadow(row.rule, row.flag)
    return {
        "who": _who_object(row.who),
        "but": [_who_object(other) for other in row.but],
        "address": addresses_text(row.rule),
        "ports": [row.rule.port_min, row.rule.port_max],
        "protocols": [row.rule.protocol] if row.rule.protocol else ["tcp", "udp"],
        "file": reading.path_of(row.name),
        "line": row.line or None,
        "decided_before_by": [reading.path_of(flag.name) for flag in shadow.flags],
        "in_force": not shadow.whole,
    }


def _who_object(who: Who) -> dict[str, object]:
    ident = who.ident if who.kind in (USER, GROUP) else None
    return {"kind": who.kind, "id": ident, "name": who.name}
