# SPDX-License-Identifier: GPL-3.0-or-later
"""A Source beside what is here -> the changes: nothing that is here is lost."""

from __future__ import annotations

from typing import NamedTuple

from ...paths import CONFIG_DIR
from ...permissions import editing
from ...permissions.access import Access, allows, holders, read_access
from ...permissions.errors import Failed
from ...permissions.names import Flag, parse_name
from ...permissions.overlap import intersect
from ...permissions.reading import check_rules, read_rules
from ...permissions.rule import Rule, parse_line
from ...permissions.state import State
from ...permissions.who import GROUP, USER, Who, group_of, user_of
from ...permissions.writing import Change
from .lists import Grant, Left, Source


class Plan(NamedTuple):
    """changes: whole files, new flag files first. grants: what grant has to fit in."""

    changes: list[Change]
    grants: list[Grant]


def make_plan(source: Source) -> Plan:
    """Return what is to be done. Raises Invalid, Failed where a file here is broken."""
    plan = Plan([], list(source.grants))
    existing = _Existing()
    for name, access in source.flags.items():
        _plan_flag(plan, existing, name, access, source)
    for name, lines in source.files.items():
        old = read_rules(name)
        new = _merged(old, lines)
        if new != (old or b""):
            check_rules(name, new)
            plan.changes.append(Change(name, old, new))
    return plan


def _plan_flag(plan: Plan, existing: _Existing, name: str, access: Access, source: Source) -> None:
    flag = parse_name(*name.split("/", 1))
    if not isinstance(flag, Flag):  # sources only give such names
        raise Failed(f"{name}: is no flag file's name")
    try:
        here = read_access(f"{CONFIG_DIR}/{name}")
    except FileNotFoundError:
        if not existing.would_lose(flag, access, source):
            plan.changes.append(Change(name, None, access))
            return
    else:
        if here == access:
            return
    # A file of this name would take the port from others: its users are let in beside them.
    plan.grants.extend(Grant(who, flag.rule, name) for who in holders(access))


class _Existing:
    """What is granted here before the import."""

    def __init__(self) -> None:
        self._state = State()
        self._rules: list[tuple[Who, Rule]] | None = None

    def would_lose(self, flag: Flag, access: Access, source: Source) -> bool:
        """Tell whether a new flag file takes what another file grants to somebody."""
        if self._rules is None:
            self._rules = [
                (_who(owner.folder, owner.ident), rule)
                for owner in self._state.owners()
                for rule in self._state.rules(owner.name)
            ]
        port = flag.rule.port_min
        for placed in self._state.flags(port, port):
            if source.flags.get(placed.flag.name) != placed.access:
                return True
        return any(
            intersect(rule, flag.rule) and not allows(access, who) for who, rule in self._rules
        )


def _who(folder: str, ident: int) -> Who:
    who = user_of(ident) if folder == "byuser" else group_of(ident)
    return who._replace(kind=USER if folder == "byuser" else GROUP)


def _merged(old: bytes | None, lines: list[bytes]) -> bytes:
    """Return the old contents with the lines that they lack; as they are where no rule is new."""
    if not old:
        return b"".join(line + b"\n" for line in lines)
    present = set(old.split(b"\n"))
    new = [line for line in lines if line and line not in present]
    if not any(isinstance(parse_line(line), Rule) for line in new):
        return old
    return old.removesuffix(b"\n") + b"\n" + b"".join(line + b"\n" for line in new)


def plan_grants(grants: list[Grant]) -> tuple[list[Change], list[Left]]:
    """Return the changes for all that can be granted, and what cannot be, with the reason."""
    left: list[Left] = []
    good = list(grants)
    while True:
        state = State()
        refused = next(filter(None, (_refusal(state, grant) for grant in good)), None)
        if refused is None:
            return state.changes(), left
        grant, why = refused
        good.remove(grant)  # and from the start: the State may have half of it
        left.append(Left(grant.where, grant.who.described, why))


def _refusal(state: State, grant: Grant) -> tuple[Grant, str] | None:
    try:
        editing.grant(state, grant.who, grant.rule)
    except Failed as error:
        return grant, "; ".join(error.lines)
    return None
