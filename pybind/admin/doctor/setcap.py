# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds programs that have privileged ports by a file capability instead of a grant.

setcap on an interpreter gives every port to every user and every script. It also puts
the interpreter into secure-execution mode. A grant replaces setcap.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ...diagnose import CAP_NET_BIND_SERVICE
from ...paths import HELPER
from . import filecaps

_FOLDERS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_TREES = ("/usr/lib/jvm", "/opt", "/usr/local/lib", "/usr/local/go", "/usr/local/node")
_DEPTH_MAX = 6  # /opt/VENDOR/PRODUCT/VERSION/jre/bin/java
_ENTRIES_MAX = 200_000  # a tree may be very large, such as a mounted archive
# Programs that run any script: their capability serves every user.
_INTERPRETERS = (
    "python pypy java node nodejs deno bun ruby perl php lua mono dotnet erl beam.smp julia tclsh "
    "bash dash sh zsh busybox gdb socat guile racket sbcl R awk gawk mawk"
).split()


class Capable(NamedTuple):
    """A file whose capabilities let it bind every port."""

    path: str
    caps: filecaps.FileCaps
    interpreter: bool


def is_interpreter(path: str) -> bool:
    """Tell whether a program of this name runs scripts: python3.11, java, node18."""
    name = os.path.basename(path)
    return name in _INTERPRETERS or name.rstrip("0123456789.-") in _INTERPRETERS


def find(search: str) -> list[Capable]:
    """Return the capable programs in known folders and trees, and in those of `search` (a PATH)."""
    by_inode: dict[tuple[int, int], Capable] = {}
    for path in _files(search):
        caps = filecaps.read(path)
        if caps is None or not caps.permitted >> CAP_NET_BIND_SERVICE & 1:
            continue
        status = os.stat(path)
        if path != os.path.realpath(HELPER):
            capable = Capable(path, caps, is_interpreter(path))
            by_inode.setdefault((status.st_dev, status.st_ino), capable)
    return sorted(by_inode.values())


def _files(search: str) -> Iterator[str]:
    folders = dict.fromkeys([*_FOLDERS, *filter(os.path.isabs, search.split(":"))])
    seen = set()
    for folder in folders:
        for entry in _entries(folder):
            path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if path not in seen and _is_program(path):
                seen.add(path)
                yield path
    left = _ENTRIES_MAX
    for tree in _TREES:
        for path in _walk(tree):
            left -= 1
            if left < 0:
                return
            if path not in seen and _is_program(path):
                seen.add(path)
                yield path


def _walk(tree: str) -> Iterator[str]:
    todo = [(tree, 0)]
    while todo:
        folder, depth = todo.pop()
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEPTH_MAX:
                    todo.append((entry.path, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _is_program(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)
