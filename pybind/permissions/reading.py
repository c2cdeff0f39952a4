# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads all permission files for list and lint; decides nothing.

What it says the files say is held against the helper by a property test
(tests/admin/test_listing.py).
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import socket
import stat
from collections.abc import Iterator
from typing import NamedTuple

from .. import _wire
from ..model import MAPPED
from ..paths import CONFIG_DIR
from .access import Access, from_mode, read_access
from .names import (
    ANY,
    FILE_SIZE_MAX,
    FOLDERS,
    RESERVED_MAX,
    RESERVED_MIN,
    Broken,
    Flag,
    Line,
    Owner,
    Rule,
    Unknown,
    parse_line,
    parse_name,
    scan,
)

_IPV4 = int(socket.AF_INET)
R, X = 4, 1  # permission bits
USER_OBJ, USER, GROUP_OBJ, GROUP, OTHER = 1, 2, 4, 8, 32  # tags of Access.entries
_MAPPED_END = MAPPED + b"\xff" * 4
_PLAIN = re.compile(
    rb"(?:any|([0-9]{1,3}(?:\.[0-9]{1,3}){3})),([1-9][0-9]{0,4})(?:/(?:(tcp)|(udp)))?"
)


class Trouble(NamedTuple):
    """Why the helper refuses because of a file. line: 0 for none. repair: for root to type."""

    name: str
    line: int
    text: str
    repair: str


class Survey(NamedTuple):
    """What is in the four folders. A flag's access is None where it can grant nothing."""

    flags: list[tuple[Flag, Access | None]]
    owners: list[Owner]
    unknown: list[Unknown]


def survey() -> Survey:
    """Look at the names in all folders, and at owner, mode and ACL of flag files."""
    found = Survey([], [], [])
    for what in scan():
        if isinstance(what, Flag):
            try:
                found.flags.append((what, read_access(path_of(what.name))))
            except FileNotFoundError:  # removed meanwhile
                continue
        elif isinstance(what, Owner):
            found.owners.append(what)
        else:
            found.unknown.append(what)
    return found


def path_of(name: str) -> str:
    """Return the path of a name below the permission directory; a path stays."""
    return name if name.startswith("/") else f"{CONFIG_DIR}/{name}"


def owner_of(folder: str, name: str) -> Owner | None:
    """Return whose rules a file holds, by its name and its folder's; None if neither says so."""
    what = parse_name(folder, name) if folder in FOLDERS[2:] else None
    return what if isinstance(what, Owner) else None


@functools.lru_cache(maxsize=1 << 14)
def parsed(raw: bytes) -> Rule | Broken | None:
    """Return parse_line(raw); the plainest lines by a short cut, for there may be a million."""
    match = _PLAIN.fullmatch(raw)
    if match is None:
        return parse_line(raw)
    address, digits, tcp, udp = match.groups()
    port = int(digits)
    if port > 65535:
        return parse_line(raw)
    protocol = "tcp" if tcp else "udp" if udp else None
    if address is None:
        return Rule(ANY, b"", b"", port, port, protocol)
    try:
        addr = socket.inet_pton(socket.AF_INET, address.decode("ascii"))
    except OSError:
        return parse_line(raw)
    return Rule(_IPV4, addr, addr, port, port, protocol)


def lines_of(data: bytes) -> list[Line]:
    """Return rulelines.parse(data), each different line being parsed once."""
    raws = data.split(b"\n")
    if not raws[-1]:
        raws.pop()
    return [Line(at, raw, parsed(raw)) for at, raw in enumerate(raws, 1)]


def read_rule_file(name: str, path: str) -> tuple[list[Line], list[Trouble]]:
    """Return the lines of a rule file, and why the helper refuses it.

    No lines where it is not to be read. Raises OSError (PermissionError where
    the caller is not root).
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        trouble = _unsafe(name, path, os.lstat(path))
        if trouble:
            return [], [trouble]
        raise
    try:
        status = os.fstat(fd)
        trouble = _unsafe(name, path, status)
        if trouble and not stat.S_ISREG(status.st_mode):
            return [], [trouble]
        data = _read(fd)
    finally:
        os.close(fd)
    troubles = [trouble] if trouble else []
    if len(data) > FILE_SIZE_MAX:
        return [], [*troubles, too_big(name)]
    lines = lines_of(data)
    return lines, troubles + list(faults(name, path, lines))


def too_big(name: str) -> Trouble:
    """Return what is wrong with a rule file of more than 1 MiB."""
    text = "is larger than 1 MiB; rules for a group belong in bygroup, a port range is one line"
    quoted = shlex.quote(path_of(name))
    return Trouble(name, 0, text, f"mv {quoted} {quoted}.old")


def _read(fd: int) -> bytes:
    chunks = []
    size = 0
    while size <= FILE_SIZE_MAX:
        chunk = os.read(fd, FILE_SIZE_MAX + 1 - size)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def _unsafe(name: str, path: str, status: os.stat_result) -> Trouble | None:
    quoted = shlex.quote(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"
        return Trouble(name, 0, f"is {kind}", f"mv {quoted} {quoted}.old")
    if status.st_uid != 0 or status.st_mode & 0o022:
        text = (
            f"is not safely root's (owner {status.st_uid}, mode {status.st_mode & 0o7777:04o}): "
            "others could write it"
        )
        return Trouble(name, 0, text, f"chown root:root {quoted} && chmod 0644 {quoted}")
    return None


def faults(name: str, path: str, lines: list[Line]) -> Iterator[Trouble]:
    """Yield the broken lines; a file of CR LF lines is one fault, not one for each line."""
    quoted = shlex.quote(path)
    carriage_seen = False
    for number, raw, what in lines:
        if not isinstance(what, Broken):
            continue
        text, fault = _wire.FAULT_TEXTS[what.fault], what.fault
        if raw.endswith(b"\r") and not isinstance(parsed(raw[:-1]), Broken):
            if not carriage_seen:
                yield Trouble(name, number, text, rf"sed -i 's/\r$//' {quoted}")
            carriage_seen = True
        elif fault in (_wire.FAULT_BYTE, _wire.FAULT_TOO_LONG):  # no comment hides these
            yield Trouble(name, number, text, f"sed -i '{number}c# (removed)' {quoted}")
        else:
            yield Trouble(name, number, text, f"sed -i '{number}s/^/# /' {quoted}")


def broken_folders() -> list[Trouble]:
    """Return what is wrong with / and the folders down to the four: refuses everything."""
    found = []
    parts = CONFIG_DIR.split("/")
    parents = ["/".join(parts[:end]) or "/" for end in range(1, len(parts) + 1)]
    for path in (*parents, *map(path_of, FOLDERS)):
        quoted = shlex.quote(path)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if path == CONFIG_DIR:
                folders = " ".join(map(path_of, FOLDERS))
                command = f"install -d -m 0755 {quoted} {folders}"
                found.append(Trouble(path, 0, "does not exist", command))
            continue
        except OSError:  # below something that is named here already
            continue
        if not stat.S_ISDIR(status.st_mode):
            repair = f"mv {quoted} {quoted}.old && install -d -m 0755 {quoted}"
            found.append(Trouble(path, 0, "is no directory (nor a link to one)", repair))
        elif status.st_uid != 0 or status.st_mode & 0o022:
            text = f"is not safely root's: owner {status.st_uid}, mode {_mode(status)}"
            repair = f"chown root {quoted} && chmod go-w {quoted}"
            found.append(Trouble(path, 0, text, repair))
    return found


def unsearchable(uid: int, gids: set[int]) -> tuple[str, Trouble] | None:
    """Return the first folder that this user cannot search: there the helper stops."""
    for folder in ("", *FOLDERS):
        path = path_of(folder) if folder else CONFIG_DIR
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        access = from_mode(status.st_mode, status.st_uid, status.st_gid)
        if not permits(access, uid, gids, X):
            text = f"cannot be searched by uid {uid}: mode {_mode(status)}"
            return folder, Trouble(path, 0, text, f"chmod 0755 {shlex.quote(path)}")
    return None


def noexec(folder: str) -> bool:
    """Tell whether no file in a folder can be executable, so that all flags in it refuse."""
    try:
        return bool(os.statvfs(path_of(folder)).f_flag & os.ST_NOEXEC)
    except FileNotFoundError:
        return False


def _mode(status: os.stat_result) -> str:
    return f"{status.st_mode & 0o7777:04o}"


def permits(access: Access, uid: int, gids: set[int], bit: int) -> bool:
    """Return what access(2) says to a process of this user and these groups (acl(5))."""
    found = access.effective()
    if uid == access.uid:
        return _has(found, USER_OBJ, bit)
    for (tag, ident), perm in found.items():
        if tag == USER and ident == uid:
            return bool(perm & bit)
    classes = [
        perm
        for (tag, ident), perm in found.items()
        if (tag == GROUP and ident in gids) or (tag == GROUP_OBJ and access.gid in gids)
    ]
    if classes:
        return any(perm & bit for perm in classes)
    return _has(found, OTHER, bit)


def _has(found: dict[tuple[int, int], int], tag: int, bit: int) -> bool:
    return any(perm & bit for (other, _), perm in found.items() if other == tag)


def in_force(rule: Rule, reserved: bool) -> list[Rule]:
    """Return the parts of a line that can count in a file with, or without, the '!'."""
    if rule.family not in (ANY, _IPV4) and rule.addr_min >= MAPPED and rule.addr_max <= _MAPPED_END:
        return []  # judged as the IPv4 address inside it, and so never asked about
    low, high = rule.port_min, rule.port_max
    if reserved:
        return _clipped(rule, RESERVED_MIN, RESERVED_MAX)
    if low > RESERVED_MAX or (low > 0 and high < RESERVED_MIN):
        return [rule]
    return _clipped(rule, 1, RESERVED_MIN - 1) + _clipped(rule, RESERVED_MAX + 1, 65535)


def _clipped(rule: Rule, first: int, last: int) -> list[Rule]:
    low, high = max(rule.port_min, first), min(rule.port_max, last)
    return [rule._replace(port_min=low, port_max=high)] if low <= high else []
