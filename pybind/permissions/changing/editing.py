# SPDX-License-Identifier: GPL-3.0-or-later
"""Grants and revokes in a State, the permission files in memory.

A grant or revocation that no permission file can express is refused here, before
anything is written.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from ...paths import CONFIG_DIR
from ...repairs import sudo
from ..access import Access, allows, from_mode, holders, holds, owned_by, with_grant, without_grant
from ..errors import Failed
from ..names import Flag, flag_name, pieces
from ..overlap import covered, meets, subtract_all
from ..precedence import FlagIndex, in_force, rank, without_mapped
from ..rule import Rule
from ..spec import spec_text
from ..who import EVERYONE, Who, everyone, group_of, rules_name, user_of
from .state import Placed, State

FLAGS_MAX = 128  # flag files that one range for everyone may become


def grant(state: State, who: Who, rule: Rule) -> None:
    """Grant `rule` to `who`. Raises Failed with the reason and a command; Invalid."""
    for piece in [piece for part in without_mapped(rule) for piece in pieces(part)]:
        if who.kind == EVERYONE:
            _grant_everyone(state, piece)
            continue
        rest = _open_flags(state, who, piece, _flags(state, who, piece))
        name = rules_name(who, "/!" in flag_name(piece))
        rules = state.rules(name)
        if not (rest == [piece] and piece in rules) and not covered(rest, rules):
            state.add_rule(name, piece)


def _flags(state: State, who: Who, rule: Rule) -> list[Placed]:
    """Return the flag files that affect `who`, for the ports of `rule`.

    For a user or a group, leave out files that a grant to everyone made: the user's own
    grant has to outlive that one.
    """
    return state.flags(rule.port_min, rule.port_max, lasting=who.kind != EVERYONE)


def _open_flags(state: State, who: Who, rule: Rule, flags: list[Placed]) -> list[Rule]:
    """Grant `rule` to `who` in the flag files that decide a part of it.

    Returns the parts that no flag file decides. Raises Failed when a flag file decides
    more than `rule`, and refuses `who`.
    """
    rest = [rule]
    for flag, access, effective in flags:
        if not meets(effective, rule):
            continue
        if covered(effective, [rule]):
            if not holds(access, who):
                state.set_access(flag, with_grant(access, who))
        elif not allows(access, who):
            raise _shadowed(who, rule, flag)
        rest = subtract_all(rest, [flag.rule])
    return rest


def _shadowed(who: Who, rule: Rule, flag: Flag) -> Failed:
    whole = spec_text(flag.rule)
    return Failed(
        f"{spec_text(rule)} cannot be granted to {who.text} alone: "
        f"{CONFIG_DIR}/{flag.name} decides about all of {whole}",
        "to grant all of that: " + sudo(("pybindctl", "grant", who.text, whole)),
    )


def _grant_everyone(state: State, rule: Rule) -> None:
    if rule.addr_min != rule.addr_max:
        raise Failed(
            f"{spec_text(rule)} cannot be granted to everyone: a flag file is for one address",
            "grant it to a group: " + sudo(("pybindctl", "grant", "@GROUP", spec_text(rule))),
        )
    count = rule.port_max - rule.port_min + 1
    if count > FLAGS_MAX:
        raise Failed(
            f"{spec_text(rule)} cannot be granted to everyone: that would be {count} flag files "
            f"(at most {FLAGS_MAX})",
            "grant it to a group, as one line: "
            + sudo(("pybindctl", "grant", "@GROUP", spec_text(rule))),
            "or let the kernel give all ports from N on away: "
            "sudo sysctl net.ipv4.ip_unprivileged_port_start=N",
        )
    for port in range(rule.port_min, rule.port_max + 1):
        single = rule._replace(port_min=port, port_max=port)
        flags = state.flags(port, port)
        if covered([single], [part for at in flags if _is_open(at) for part in at.effective]):
            continue
        new = Flag(flag_name(single), single)
        # A file that comes after the new one does not matter: the new one decides first.
        before = [at for at in flags if rank(at.flag) <= rank(new)]
        rest = _open_flags(state, everyone(), single, before)
        if rest:
            state.set_access(new, from_mode(0o755))


def _is_open(placed: Placed) -> bool:
    return holds(placed.access, everyone())


def revoke(state: State, who: Who, rule: Rule) -> None:
    """Take `rule` from `who`: only grants to `who` itself, not to a user's groups.

    Raises Failed, with the reason and a command, if no file can express the rest.
    """
    for piece in pieces(rule):
        for flag in [placed.flag for placed in _flags(state, who, piece)]:
            _close_flag(state, who, piece, flag)
        if who.kind != EVERYONE:
            name = rules_name(who, "/!" in flag_name(piece))
            state.cut_rules(name, functools.partial(_common, piece))


def _common(cut: Rule, line: Rule) -> list[Rule]:
    return [cut] if meets([line], cut) else []


def _close_flag(state: State, who: Who, rule: Rule, flag: Flag) -> None:
    # Looked up again: after an earlier file is removed, this one decides more.
    placed = next(at for at in _flags(state, who, flag.rule) if at.flag == flag)
    if not meets([flag.rule], rule) or not holds(placed.access, who):
        return
    whole = covered([flag.rule], [rule]) or (
        bool(placed.effective) and covered(placed.effective, [rule])
    )
    if whole:
        if owned_by(placed.access, who):
            raise _owned(who, flag)
        state.set_access(flag, without_grant(placed.access, who))
    elif meets(placed.effective, rule):
        raise _indivisible(who, rule, placed)


def _owned(who: Who, flag: Flag) -> Failed:
    path = f"{CONFIG_DIR}/{flag.name}"
    return Failed(
        f"{path} belongs to {who.text}, who could make it executable again",
        "repair: " + sudo(("chown", "root", path)),
    )


def _indivisible(who: Who, rule: Rule, placed: Placed) -> Failed:
    whole = spec_text(placed.flag.rule)
    lines = [
        f"{spec_text(rule)} cannot be revoked alone: {CONFIG_DIR}/{placed.flag.name} grants "
        f"{who.text} all of {whole}"
    ]
    purpose = "to revoke all of that"
    commands: list[tuple[str, ...]] = [("pybindctl", "revoke", who.text, whole)]
    rest = subtract_all(placed.effective, [rule])
    alone = who.kind != EVERYONE or holders(placed.access) == [who]
    if alone and who.kind == EVERYONE and all(part.addr_min == part.addr_max for part in rest):
        commands += [("pybindctl", "grant", "everyone", spec_text(part)) for part in rest]
        purpose = "to revoke all and grant the rest"
    return Failed(*lines, f"{purpose}: {sudo(*commands)}")


def overriding(state: State) -> FlagIndex:
    """Return the flag files that decide before rule files, without those of everyone's grants."""
    return FlagIndex(placed.flag for placed in state.flags(1, 65535, lasting=True))


def rule_grants(state: State, name: str, flags: FlagIndex) -> list[Rule]:
    """Return the parts of a rule file's rules that count. flags: from overriding()."""
    return [part for rule in state.rules(name) for part in flags.left(rule)]


def prune(state: State, wanted: Mapping[Who, list[Rule]]) -> None:
    """Take away every grant that is not wanted, even one that another file overrides.

    Flag files come first, because they override rule files. From a flag file `who` is
    removed as a whole; the caller grants the wanted part afterwards. A flag file that
    grants to nobody any more is removed if it would refuse a wanted part.
    """
    for flag in [placed.flag for placed in state.flags(1, 65535)]:
        port = flag.rule.port_min
        placed = next(at for at in state.flags(port, port) if at.flag == flag)
        access: Access | None = placed.access
        for who in holders(placed.access):
            decides = placed.effective or [flag.rule]
            if access is not None and not covered(decides, wanted.get(who, [])):
                if not owned_by(placed.access, who):
                    access = without_grant(access, who)
                elif placed.effective:
                    raise _owned(who, flag)
        if access is not None and access != placed.access and not holders(access):
            all_wanted = (rule for rules in wanted.values() for rule in rules)
            if any(
                meets([flag.rule], rule) and subtract_all([flag.rule], [rule])
                for rule in all_wanted
            ):
                access = None
        if access != placed.access:
            state.set_access(flag, access)
    for owner in state.owners():
        who = user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident)
        keep = [part for rule in wanted.get(who, []) for part in in_force(rule, "/!" in owner.name)]
        state.cut_rules(owner.name, functools.partial(_excess, owner.name, keep, frozenset(keep)))


def _excess(name: str, keep: list[Rule], exactly: frozenset[Rule], rule: Rule) -> list[Rule]:
    """Return the parts of a line's rule that are not in `keep`.

    If all parts that count in this file are in `keep`, the whole line stays. exactly:
    `keep` as a set, which finds most lines at once.
    """
    parts = in_force(rule, "/!" in name)
    if parts and not subtract_all([part for part in parts if part not in exactly], keep):
        return []
    return subtract_all([rule], keep)
