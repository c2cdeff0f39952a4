# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted: /proc/PID/mountinfo (proc_pid_mountinfo(5)), whatever users mounted (leaf).

A user may mount with fusermount3(1), and chooses the place, the type's second half and the
source. The kernel escapes a blank, a tab, a newline and a backslash there, and nothing else: a
carriage return, or what Unicode calls a blank, is part of a field.
"""

from __future__ import annotations

import os
from typing import NamedTuple

OWN = "/proc/self/mountinfo"


class Mount(NamedTuple):
    """One line. path: where. options: of the mount; super_options: of the file system.

    root: the folder of the file system that is seen there. kind: the type.
    Text is as os.fsdecode() has it.
    """

    ident: int
    root: str
    path: str
    options: tuple[str, ...]
    kind: str
    super_options: tuple[str, ...]


def read(path: str = OWN) -> list[Mount]:
    """Return what is mounted, in the order of the file: of two at one place the last is on top.

    Raises OSError.
    """
    with open(path, "rb") as file:
        return [_mount(line.removesuffix(b"\n")) for line in file]


def _mount(line: bytes) -> Mount:
    before, _, after = line.partition(b" - ")  # optional fields end there
    ident, _, _, root, path, options = before.split(b" ")[:6]
    kind, _, super_options = after.split(b" ", 2)
    return Mount(
        int(ident),
        _text(root),
        _text(path),
        tuple(_text(options).split(",")),
        _text(kind),
        tuple(_text(super_options).split(",")),
    )


def _text(field: bytes) -> str:
    """Return a field without its escapes: a backslash and three octal digits."""
    first, *rest = field.split(b"\\")
    return os.fsdecode(first + b"".join(bytes([int(text[:3], 8)]) + text[3:] for text in rest))
