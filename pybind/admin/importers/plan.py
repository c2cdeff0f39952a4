# SPDX-License-Identifier: GPL-3.0-or-later
"""Source -> Plan: the changes that add its grants to the permission files of this host.

Nobody loses a grant that they have here. All changes are planned in one State, so that
one commit writes all or nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from ...paths import CONFIG_DIR
from ...permissions.access import Access, allows, as_roots, holders, holds, named
from ...permissions.changing import editing
from ...permissions.changing.state import State
from ...permissions.changing.writing import Change
from ...permissions.errors import Failed
from ...permissions.names import Flag, parse_name
from ...permissions.overlap import covered, intersect, subtract_all
from ...permissions.precedence import rank
from ...permissions.rule import Rule, parse_line, rule_text
from ...permissions.spec import spec_text
from ...permissions.who import EVERYONE, GROUP, USER, Who, group_of, user_of
from .source import Grant, Left, Source


class Lost(NamedTuple):
    """A permission that cannot be made beside the files of this host. who: None for everybody."""

    who: Who | None
    rule: Rule
    note: Left


class Plan(NamedTuple):
    """What an import will do.

    state: the permission files as they will be.
    changes: the files to write, new flag files before rule files.
    lost: permissions that cannot be made here.
    notes: pieces that are written differently.
    """

    state: State
    changes: list[Change]
    lost: list[Lost]
    notes: list[Left]


def make_plan(source: Source) -> Plan:
    """Return the plan of an import. Raises Invalid, Failed if a file of this host is broken."""
    refused: dict[Grant, str] = {}
    while True:
        plan = Plan(State(), [], [], [])
        grants, unplaced = _place_flags(plan, source)
        for name in source.files:
            lines = _without(plan, source, name, unplaced)
            plan.state.set_contents(name, _merged(plan.state.contents(name), lines))
        wanted = [grant for grant in (*source.grants, *grants) if grant not in refused]
        failure = _first_refusal(plan.state, wanted)
        if failure is None:
            break
        refused[failure[0]] = failure[1]  # then start again: the State may have a half of it
    for grant, why in refused.items():
        plan.lost.append(Lost(grant.who, grant.rule, Left(grant.where, grant.who.described, why)))
    plan.changes.extend(sorted(plan.state.changes(), key=_is_no_new_flag))
    return plan


def _is_no_new_flag(change: Change) -> bool:
    """Sort new flag files first: a rule file must not grant what they will refuse."""
    return change.old is not None or not isinstance(change.new, Access)


def _first_refusal(state: State, grants: list[Grant]) -> tuple[Grant, str] | None:
    grant = None
    try:
        for grant in grants:
            editing.grant(state, grant.who, grant.rule)
    except Failed as error:
        return (grant, "; ".join(error.lines)) if grant else None
    return None


def _place_flags(plan: Plan, source: Source) -> tuple[list[Grant], list[Flag]]:
    """Plan each flag file; return grants, and the flag files that cannot be made here.

    A flag file cannot be made if it would take the port from users who have it here. The
    returned grants give the port to the users of such a file.
    """
    rules = _granted_rules(plan.state)
    grants: list[Grant] = []
    unplaced: list[Flag] = []
    for flag in sorted(map(_flag, source.flags), key=rank):
        name, access = flag.name, source.flags[flag.name]
        where, owner = f"{source.title}/{name}", source.owners.get(name)
        if covered([flag.rule], [earlier.rule for earlier in unplaced]):
            why = f"{unplaced[-1].name} decides before it there, and is no file here"
            plan.notes.append(Left(where, "", f"is not made: {why}"))
            continue
        if _place(plan.state, rules, flag, source):
            became = "here it is root's, with an entry for that user"
        else:
            unplaced.append(flag)
            refused = _refused(access)
            if refused:
                why = f"it refuses {refused[0].described}, and others have the port here: no file "
                plan.lost.append(Lost(None, flag.rule, Left(where, "", f"{why}can say both")))
                continue
            whos = holders(access)
            grants.extend(Grant(who, flag.rule, where) for who in whos)
            names = ", ".join(who.described for who in whos)
            became = f"here it becomes a grant of {spec_text(flag.rule)} to {names}"
            became = became if whos else "it lets nobody in, and is not made here"
            if owner is None:
                why = f"{CONFIG_DIR} lets others have the port: {became}"
                plan.notes.append(Left(where, "", why))
        if owner is not None:
            why = f"belongs to {owner.described}, who could open it to others; {became}"
            plan.notes.append(Left(where, "", why))
    return grants, unplaced


def _flag(name: str) -> Flag:
    flag = parse_name(*name.split("/", 1))
    if not isinstance(flag, Flag):  # a fault of the importer
        raise Failed(f"{name}: is no flag file's name")
    return flag


def _refused(access: Access) -> list[Who]:
    """Return the users and groups that a flag file refuses although others may use it.

    The others are everyone or, for a user, a group.
    """
    kinds = {who.kind for who in holders(access)}
    return [
        who
        for who in named(access)
        if who.ident != 0
        and not holds(access, who)
        and (EVERYONE in kinds or (who.kind == USER and GROUP in kinds))
        and who.kind != EVERYONE
    ]


def _without(plan: Plan, source: Source, name: str, flags: list[Flag]) -> list[bytes]:
    """Return the lines of a rule file, without the ports that these flag files decided there."""
    cuts = [flag.rule for flag in flags if ("/!" in flag.name) == ("/!" in name)]
    lines = []
    for line in source.files[name]:
        rule = parse_line(line)
        rest = subtract_all([rule], cuts) if isinstance(rule, Rule) else []
        if not isinstance(rule, Rule) or rest == [rule]:
            lines.append(line)
            continue
        texts = [rule_text(part) for part in rest]
        lines += [text.encode() for text in texts]
        became = f"becomes {' '.join(texts)}" if texts else "is not needed"
        why = f"{became}: a flag file there decides about the rest"
        plan.notes.append(Left(f"{CONFIG_DIR}/{name}", line.decode("ascii"), why))
    return lines


def _place(state: State, rules: list[tuple[Who, Rule]], flag: Flag, source: Source) -> bool:
    """Make a flag file, unless this host has the same one; False if it cannot be made."""
    access = source.flags[flag.name]
    try:
        here = state.access(flag)
    except Failed:
        return False
    if here is None:
        if _would_lose(state, rules, flag, source):
            return False
        state.set_access(flag, access)
    elif as_roots(here) != access:
        return False
    elif here.uid != 0:
        state.set_access(flag, access)
    return True


def _granted_rules(state: State) -> list[tuple[Who, Rule]]:
    """Return the grants of this host's rule files before the import."""
    return [
        (user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident), rule)
        for owner in state.owners()
        for rule in state.rules(owner.name)
    ]


def _would_lose(state: State, rules: list[tuple[Who, Rule]], flag: Flag, source: Source) -> bool:
    """Tell whether a new flag file would take a port from a user who has it here."""
    access, port = source.flags[flag.name], flag.rule.port_min
    for placed in state.flags(port, port):
        if source.flags.get(placed.flag.name) != placed.access:
            return True
    return any(intersect(rule, flag.rule) and _shuts_out(access, who) for who, rule in rules)


def _shuts_out(access: Access, who: Who) -> bool:
    """Tell whether a flag file refuses `who`, or a possible member of the group `who`."""
    if not allows(access, who):
        return True
    if who.kind != GROUP:
        return False
    refused = [
        each.kind
        for each in named(access)
        if each.ident != 0 and each.kind != EVERYONE and not holds(access, each)
    ]
    # A user gets in by any of their groups, unless an entry refuses the user by name.
    return USER in refused or (GROUP in refused and not holds(access, who))


def _merged(old: bytes, lines: list[bytes]) -> bytes:
    """Return the old contents with the new lines added; unchanged if no rule is new."""
    if not old:
        return b"".join(line + b"\n" for line in lines)
    present = set(old.split(b"\n"))
    new = [line for line in lines if line and line not in present]
    if not any(isinstance(parse_line(line), Rule) for line in new):
        return old
    return old.removesuffix(b"\n") + b"\n" + b"".join(line + b"\n" for line in new)
