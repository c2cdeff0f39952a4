# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows changes to people and to programs: one line each, a unified diff, JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from ..access import Access
from ..names import Flag, Owner, parse_name
from ..rule import Rule, parse
from ..who import group_of, user_of
from .writing import Change


def summary(change: Change) -> list[str]:
    """Return what a change did: the file, and each line that came (+) or went (-)."""
    if isinstance(change.new, Access) and change.old is None:
        return [f"made {change.path} ({change.new.described})"]
    if isinstance(change.old, Access) and change.new is None:
        return [f"removed {change.path}"]
    verb = "made" if change.old is None else "removed" if change.new is None else "changed"
    old, new = (
        [each.described] if isinstance(each, Access) else _lines(each)
        for each in (change.old, change.new)
    )
    lines = difflib.unified_diff(old, new, n=0, lineterm="")
    shown = [f"  {line[0]} {line[1:]}" for line in list(lines)[2:] if line[0] in "+-"]
    return [f"{verb} {_named(change)}", *shown]


def lost(changes: Iterable[Change]) -> list[Rule]:
    """Return what was covered before changes and is not after them, whoever it is for."""
    found: list[Rule] = []
    for change in changes:
        if isinstance(change.old, bytes):
            gone = [line.content for line in parse(change.old)]
            kept = (
                [line.content for line in parse(change.new)]
                if isinstance(change.new, bytes)
                else []
            )
            found += [rule for rule in gone if isinstance(rule, Rule) and rule not in kept]
        else:
            what = parse_name(*change.name.split("/"))
            found += [what.rule] if isinstance(what, Flag) else []
    return found


def unified(changes: list[Change]) -> Iterator[str]:
    """Yield the lines of one diff; a flag file's owner, mode and list stand for its contents."""
    for change in changes:
        old = change.path if change.old is not None else "/dev/null"
        new = change.path if change.new is not None else "/dev/null"
        yield from difflib.unified_diff(
            _lines(change.old), _lines(change.new), old, new, lineterm=""
        )


def as_json(changes: list[Change]) -> list[dict[str, object]]:
    """Return the changes for --json."""
    return [
        {"file": change.path, "before": _lines(change.old), "after": _lines(change.new)}
        for change in changes
    ]


def _lines(content: bytes | Access | None) -> list[str]:
    if content is None:
        return []
    if isinstance(content, Access):
        return [content.text]
    return content.decode("utf-8", "backslashreplace").splitlines()


def _named(change: Change) -> str:
    """Return the path, and of a rule file the account whose number it has."""
    owner = parse_name(*change.name.split("/", 1))
    if not isinstance(owner, Owner):
        return change.path
    who = user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident)
    return change.path if who.name == str(owner.ident) else f"{change.path} ({who.text})"
