# SPDX-License-Identifier: GPL-3.0-or-later
"""The permission files in memory: as they were read, and as they shall become.

Nothing is written here: writing.commit() carries out what State.changes() returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...paths import CONFIG_DIR, FOLDERS
from ...repairs import put_aside
from ..access import Access, only_everyones, read_access
from ..errors import Failed
from ..names import Flag, Owner, parse_name
from ..overlap import subtract_all
from ..precedence import FlagIndex, in_force
from ..reading import FILE_SIZE_MAX, check_rules, read_rules
from ..rule import LINE_LEN_MAX, Rule, parse, rule_text
from .writing import Change


class Placed(NamedTuple):
    """A flag file. effective: the parts of its rule that no earlier flag file decides."""

    flag: Flag
    access: Access
    effective: list[Rule]


class State:
    """The files, each read when it is first needed. Raises Invalid, Failed, OSError."""

    def __init__(self) -> None:
        self._old_rules: dict[str, bytes | None] = {}
        self._rules: dict[str, bytes | None] = {}
        self._parsed: dict[str, list[Rule]] = {}
        self._old_access: dict[str, Access] = {}
        self._access: dict[str, Access] = {}
        self._flags: dict[int, list[Flag]] = {}
        for folder in FOLDERS[:2]:
            for name in _names(folder):
                entry = parse_name(folder, name)
                if isinstance(entry, Flag):
                    self._flags.setdefault(entry.rule.port_min, []).append(entry)

    def owners(self) -> list[Owner]:
        """Return the users and groups that have a rule file."""
        entries = (parse_name(folder, name) for folder in FOLDERS[2:] for name in _names(folder))
        return [entry for entry in entries if isinstance(entry, Owner)]

    def flags(self, port_min: int, port_max: int, lasting: bool = False) -> list[Placed]:
        """Return the flag files for these ports, and within a port in the helper's order.

        lasting: without the files that a grant to everyone made, which `pybindctl revoke
        everyone` removes.
        """
        count = port_max - port_min + 1
        ports = range(port_min, port_max + 1) if count < len(self._flags) else sorted(self._flags)
        return [
            placed
            for port in ports
            if port_min <= port <= port_max and port in self._flags
            for placed in self._place(self._flags[port], lasting)
        ]

    def _place(self, flags: list[Flag], lasting: bool) -> Iterator[Placed]:
        accesses = {flag: self._access_of(flag.name) for flag in flags}
        index = FlagIndex(
            flag for flag in flags if not (lasting and only_everyones(accesses[flag]))
        )
        for flag in index:
            yield Placed(flag, accesses[flag], index.left(flag.rule, flag))

    def _access_of(self, name: str) -> Access:
        if name not in self._access:
            path = f"{CONFIG_DIR}/{name}"
            access = read_access(path)
            if access is None:
                raise Failed(
                    f"{path}: is no regular file, and so refuses its port to everybody",
                    "repair: " + put_aside(path),
                )
            self._access[name] = self._old_access[name] = access
        return self._access[name]

    def access(self, flag: Flag) -> Access | None:
        """Return a flag file's access; None if it is missing.

        Raises Failed for a file that is not a regular file.
        """
        here = flag in self._flags.get(flag.rule.port_min, [])
        return self._access_of(flag.name) if here else None

    def set_access(self, flag: Flag, access: Access | None) -> None:
        """Change or make a flag file; with None remove it."""
        of_port = self._flags.setdefault(flag.rule.port_min, [])
        if access is None:
            del self._access[flag.name]
            of_port.remove(flag)
            if not of_port:
                del self._flags[flag.rule.port_min]
            return
        if flag not in of_port:
            of_port.append(flag)
        self._access[flag.name] = access

    def rules(self, name: str) -> list[Rule]:
        """Return the parts of a rule file's rules that can count in it, line by line."""
        if name not in self._parsed:
            lines = parse(self.contents(name))
            rules = [line.content for line in lines if isinstance(line.content, Rule)]
            reserved = "/!" in name
            self._parsed[name] = [part for rule in rules for part in in_force(rule, reserved)]
        return self._parsed[name]

    def contents(self, name: str) -> bytes:
        """Return the contents of a rule file; b"" if it is missing."""
        if name not in self._rules:
            self._rules[name] = self._old_rules[name] = read_rules(name)
        return self._rules[name] or b""

    def set_contents(self, name: str, data: bytes) -> None:
        """Change the contents of a rule file. Raises Invalid if the helper would refuse them."""
        if data != self.contents(name):
            check_rules(name, data)
            self._rules[name] = data
            self._parsed.pop(name, None)

    def add_rule(self, name: str, rule: Rule) -> None:
        """Append a line to a rule file."""
        data = self.contents(name)
        if data and not data.endswith(b"\n"):
            data += b"\n"
        data += rule_text(rule).encode() + b"\n"
        if len(data) > FILE_SIZE_MAX:
            check_rules(name, data)
        self.rules(name).extend(in_force(rule, "/!" in name))
        self._rules[name] = data

    def cut_rules(self, name: str, cuts: Callable[[Rule], list[Rule]]) -> None:
        """Take the rules that cuts(rule) returns out of each rule; other lines stay the same."""
        lines: list[bytes] = []
        changed = False
        for line in parse(self.contents(name)):
            gone = cuts(line.content) if isinstance(line.content, Rule) else []
            if gone and isinstance(line.content, Rule):
                lines.extend(_cut_line(line.raw, subtract_all([line.content], gone)))
                changed = True
            else:
                lines.append(line.raw)
        if changed:
            data = b"".join(line + b"\n" for line in lines)
            check_rules(name, data)
            self._rules[name] = data or None
            self._parsed.pop(name, None)

    def changes(self) -> list[Change]:
        """Return the changes since the files were read: rule files first."""
        changes = [
            Change(name, self._old_rules[name], new)
            for name, new in sorted(self._rules.items())
            if new != self._old_rules[name]
        ]
        for name in sorted({*self._old_access, *self._access}):
            old, new = self._old_access.get(name), self._access.get(name)
            if old != new:
                changes.append(Change(name, old, new))
        return changes


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(f"{CONFIG_DIR}/{folder}")
    except FileNotFoundError:
        return []


def _cut_line(raw: bytes, rest: list[Rule]) -> list[bytes]:
    """Return the lines for the rest of a line. Its comment stays, on its own line if needed."""
    body, mark, comment = raw.partition(b"#")
    lines = [rule_text(part).encode() for part in rest]
    if not mark:
        return lines
    blanks = body[len(body.rstrip(b" \t")) :]
    if lines and len(lines[0] + blanks + mark + comment) <= LINE_LEN_MAX:
        lines[0] += blanks + mark + comment
        return lines
    return [mark + comment, *lines]
