# SPDX-License-Identifier: GPL-3.0-or-later
"""All permission files -> the table for the kernel, as bytes. Pure.

A table never changes: after a change of any file, a new one is made.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import NamedTuple

from . import layout
from .entries import Item

DETAILS_MAX = 1 << 22  # 160 MiB; files that do not fit are left to the helper
_FOLDER_AT = 20  # of a packed NAME


class Table(NamedTuple):
    """The contents of the maps `names` and `details`; helpers/kernel/table.h has the structs.

    keys: packed NAMEs. values: a packed FILE for each key.
    details: packed ENTRYs and LINEs.
    folders: 1 << number for each folder that is not empty.
    ports: one more than the highest port that a file could grant.
    left_all: why everything is left to the helper, or "".
    refuses_all: why everything is refused, or "".
    left: (name, why) of the files that are left to the helper.
    """

    keys: bytes
    values: bytes
    details: bytes
    folders: int
    ports: int
    left_all: str
    refuses_all: str
    left: tuple[tuple[str, str], ...]
    flag_count: int
    rule_count: int
    line_count: int

    @property
    def size(self) -> int:
        """Return the number of files."""
        return len(self.keys) // layout.NAME.size


def empty(left_all: str = "", refuses_all: str = "") -> Table:
    """Return a table that grants nothing."""
    return Table(b"", b"", b"", 0, 0, left_all, refuses_all, (), 0, 0, 0)


class Numbers:
    """A number for each name, for the records: a name keeps its number for ever.

    Also keeps the packed FILE of files without list and lines: most files do not change
    from one table to the next.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names = [""]
        self._packed: dict[str, tuple[Item, bytes]] = {}

    def of(self, name: str) -> int:
        """Return the number of a name, from 1."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
        return number

    def name(self, number: int) -> str:
        """Return the name of a number; "" for 0 and for an unknown number."""
        return self._names[number] if number < len(self._names) else ""

    def packed(self, item: Item) -> bytes:
        """Return the packed FILE of a file without list and lines."""
        known = self._packed.get(item.name)
        if known is not None and known[0] is item:
            return known[1]
        value = self.pack(item, item.state, 0, 0, 0)
        self._packed[item.name] = (item, value)
        return value

    def pack(self, item: Item, state: int, entries: int, start: int, lines: int) -> bytes:
        """Return a packed FILE. start: the index of its entries and lines in `details`."""
        number = self.of(item.name)
        return layout.FILE.pack(
            number, item.uid, item.gid, state, *item.permissions, entries, start, lines
        )


def build(items: Iterable[Item], numbers: Numbers) -> Table:
    """Return the table of these files."""
    chosen: dict[bytes, Item] = {}
    for item in items:
        key = item.key
        if key not in chosen or item.rank < chosen[key].rank:
            chosen[key] = item
    values = []
    details: list[bytes] = []
    left = []
    start = line_total = 0
    for item in chosen.values():
        if item.state == layout.LEFT:
            left.append((item.name, item.why))
        if not item.entries and not item.lines:
            values.append(numbers.packed(item))
            continue
        entries = len(item.entries) // layout.ENTRY.size
        lines = len(item.lines) // layout.LINE.size
        if start + entries + lines > DETAILS_MAX:
            values.append(numbers.pack(item, layout.LEFT, 0, 0, 0))
            left.append((item.name, "the table is full"))
            continue
        values.append(numbers.pack(item, item.state, entries, start, lines))
        details += (item.entries, item.lines)
        start += entries + lines
        line_total += lines
    counts = collections.Counter(key[_FOLDER_AT] for key in chosen)
    flags = counts[layout.BYPORT] + counts[layout.BYADDR]
    return Table(
        keys=b"".join(chosen),
        values=b"".join(values),
        details=b"".join(details),
        folders=sum(1 << folder for folder in counts if counts[folder]),
        ports=max((item.ports for item in chosen.values()), default=0),
        left_all="",
        refuses_all="",
        left=tuple(left),
        flag_count=flags,
        rule_count=len(chosen) - flags,
        line_count=line_total,
    )
