# SPDX-License-Identifier: GPL-3.0-or-later
"""All permission files -> the table that the kernel judges by, as bytes; pure.

A table is written once. A change of any file is another table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from . import layout
from .entries import Item

DETAILS_MAX = 1 << 22  # 160 MiB; what does not fit is left to the helper
_FOLDER_AT = 20  # of a packed NAME


class Table(NamedTuple):
    """keys: packed NAMEs, values: a packed FILE for each; details: packed ENTRYs and LINEs.

    folders: 1 << number for each folder that is not empty. left_all: why all is
    left to the helper, or "". refuses_all: why everything is refused, or "".
    left: (name, why) of the files that are left to the helper.
    """

    keys: bytes
    values: bytes
    details: bytes
    folders: int
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
    return Table(b"", b"", b"", 0, left_all, refuses_all, (), 0, 0, 0)


class Numbers:
    """A number for each name, for the log: the same name has the same number for ever."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names = [""]

    def of(self, name: str) -> int:
        """Return the number of a name, from 1."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
        return number

    def name(self, number: int) -> str:
        """Return the name of a number; "" for 0 and for what was never a name."""
        return self._names[number] if number < len(self._names) else ""


def build(items: Iterable[Item], numbers: Numbers) -> Table:
    """Return the table of these files."""
    chosen: dict[bytes, Item] = {}
    for item in items:
        other = chosen.get(item.key)
        if other is None or item.rank < other.rank:
            chosen[item.key] = item
    values = []
    details: list[bytes] = []
    left = []
    folders = flags = lines = start = 0
    entry_size, line_size = layout.ENTRY.size, layout.LINE.size
    for key, item in chosen.items():
        folders |= 1 << key[_FOLDER_AT]
        flags += key[_FOLDER_AT] in (layout.BYPORT, layout.BYADDR)
        entry_count, line_count = len(item.entries) // entry_size, len(item.lines) // line_size
        state = item.state
        if start + entry_count + line_count > DETAILS_MAX:
            state, entry_count, line_count = layout.LEFT, 0, 0
            left.append((item.name, "the table is full"))
        elif state == layout.LEFT:
            left.append((item.name, item.why))
        values.append(
            layout.FILE.pack(
                numbers.of(item.name),
                item.uid,
                item.gid,
                state,
                *item.permissions,
                entry_count,
                start,
                line_count,
            )
        )
        if entry_count or line_count:
            details += (item.entries, item.lines)
            start += entry_count + line_count
            lines += line_count
    return Table(
        b"".join(chosen),
        b"".join(values),
        b"".join(details),
        folders,
        "",
        "",
        tuple(left),
        flags,
        len(chosen) - flags,
        lines,
    )
