# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows changes: as lines for people, as a unified diff, as JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from ..access import Access
from ..names import Flag, Owner, parse_name
from ..rule import Rule, parse
from ..who import group_of, user_of
from .writing import Change


def summary(change: Change) -> list[str]:
    """Return lines about one change: the file, then each added (+) and removed (-) line."""
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
    """Return the rules that changes take out of rule files, and those of changed flag files."""
    rules: list[Rule] = []
    for change in changes:
        if isinstance(change.old, bytes):
            gone = [line.content for line in parse(change.old)]
            kept = (
                [line.content for line in parse(change.new)]
                if isinstance(change.new, bytes)
                else []
            )
            rules += [rule for rule in gone if isinstance(rule, Rule) and rule not in kept]
        else:
            file = parse_name(*change.name.split("/"))
            rules += [file.rule] if isinstance(file, Flag) else []
    return rules


def unified(changes: list[Change]) -> Iterator[str]:
    """Yield the lines of one diff. A flag file is shown as a line with its owner, mode and ACL."""
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
    if not content:
        return []
    if isinstance(content, Access):
        return [content.text]
    # Not splitlines(): a comment may hold what Unicode calls the end of a line.
    return content.decode("utf-8", "backslashreplace").removesuffix("\n").split("\n")


def _named(change: Change) -> str:
    """Return the path; for a rule file also the name of its user or group."""
    owner = parse_name(*change.name.split("/", 1))
    if not isinstance(owner, Owner):
        return change.path
    who = user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident)
    return change.path if who.name == str(owner.ident) else f"{change.path} ({who.text})"
