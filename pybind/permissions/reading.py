# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the permission files; decides nothing.

A property test compares its results with the helper's answers (tests/admin/test_list.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from .. import _wire
from ..paths import FOLDERS
from ..repairs import put_aside, rule_line, rules_file, sudo
from ..trust import others_can_write
from .access import Access, R, permits, read_access
from .errors import Invalid
from .folders import Trouble, owner_and_mode, path_of
from .names import Flag, Owner, Unknown, parse_name
from .rule import Broken, Line, parse, parse_line
from .who import group_of, identity_for, user_of

FILE_SIZE_MAX = 1 << 20  # the helper refuses a larger rule file


class Survey(NamedTuple):
    """The files in the four folders. The access is None for a flag file of a wrong kind."""

    flags: list[tuple[Flag, Access | None]]
    owners: list[Owner]
    unknown: list[Unknown]


def survey() -> Survey:
    """Return all files by their names, flag files with owner, mode and ACL. Raises OSError."""
    files = Survey([], [], [])
    for file in scan():
        if isinstance(file, Flag):
            try:
                files.flags.append((file, read_access(path_of(file.name))))
            except FileNotFoundError:  # removed meanwhile
                continue
        elif isinstance(file, Owner):
            files.owners.append(file)
        else:
            files.unknown.append(file)
    return files


def scan() -> Iterator[Flag | Owner | Unknown]:
    """Yield every name in the four folders, in the order of FOLDERS and of names.

    A missing folder counts as empty. Raises OSError for other errors.
    """
    for folder in FOLDERS:
        try:
            names = sorted(os.listdir(path_of(folder)))
        except FileNotFoundError:
            continue
        for name in names:
            yield parse_name(folder, os.fsencode(name).decode("utf-8", "backslashreplace"))


def owner_of(folder: str, name: str) -> Owner | None:
    """Return the Owner of a file in byuser or bygroup, by its name; None for other files."""
    file = parse_name(folder, name) if folder in FOLDERS[2:] else None
    return file if isinstance(file, Owner) else None


def read_rule_file(name: str, path: str) -> tuple[list[Line], list[Trouble]]:
    """Return the lines of a rule file, and the reasons why the helper refuses it.

    name: below CONFIG_DIR. path: of the file to read. There are no lines if the file is
    not a regular file, or too big. Raises OSError.
    """
    status, data = _open_and_read(path)
    trouble = _unsafe(name, path, status)
    troubles = [trouble] if trouble else []
    if data is None:
        return [], troubles
    if len(data) > FILE_SIZE_MAX:
        return [], [*troubles, too_big(name)]
    lines = parse(data)
    return lines, troubles + list(faults(name, path, lines))


def read_rules(name: str) -> bytes | None:
    """Return the contents of rule file `name` (below CONFIG_DIR); None if it is missing.

    Raises Invalid for a file that the helper always refuses: unsafe, too big, or with a
    broken line. Raises OSError.
    """
    path = path_of(name)
    try:
        status, data = _open_and_read(path)
    except FileNotFoundError:
        return None
    trouble = _unsafe(name, path, status)
    if trouble or data is None:
        text = trouble.text if trouble else "cannot be read"
        raise Invalid(f"{path}: {text}", *(["repair: " + trouble.repair] if trouble else []))
    check_rules(name, data)
    return data


def check_rules(name: str, data: bytes) -> None:
    """Raise Invalid, with file and line, if the helper would refuse these contents."""
    path = path_of(name)
    if len(data) > FILE_SIZE_MAX:
        raise Invalid(f"{path}: is larger than 1 MiB; pybind refuses such a file")
    for line in parse(data):
        if isinstance(line.content, Broken):
            raise Invalid(
                f"{path} line {line.number}: {line.content.text}; pybind refuses the whole file",
                "repair: " + rule_line(path, line.number, line.raw),
            )


def _open_and_read(path: str) -> tuple[os.stat_result, bytes | None]:
    """Open a path like the helper; return its status, and its contents or None.

    None: not a regular file. A file that is too big is cut after FILE_SIZE_MAX + 1
    bytes. Raises OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return status, None
        raise
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        return status, None
    with open(fd, "rb") as file:
        return status, file.read(FILE_SIZE_MAX + 1)


def too_big(name: str) -> Trouble:
    """Return the Trouble of a rule file that is larger than 1 MiB."""
    text = "is larger than 1 MiB; rules for a group belong in bygroup, a port range is one line"
    return Trouble(name, 0, text, put_aside(path_of(name)))


def _unsafe(name: str, path: str, status: os.stat_result) -> Trouble | None:
    if not stat.S_ISREG(status.st_mode):
        return Trouble(name, 0, f"is {_kind(status)}", rules_file(path, status))
    if others_can_write(status):
        text = f"others than root can write it ({owner_and_mode(status)}): read it before you repair it"
        return Trouble(name, 0, text, rules_file(path, status))
    return None


def _kind(status: os.stat_result) -> str:
    return "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"


def faults(name: str, path: str, lines: list[Line]) -> Iterator[Trouble]:
    """Yield the Trouble of each broken line; of the lines that end in CR LF, only the first."""
    carriage_seen = False
    for number, raw, content in lines:
        if not isinstance(content, Broken):
            continue
        if raw.endswith(b"\r") and not isinstance(parse_line(raw[:-1]), Broken):
            if carriage_seen:
                continue
            carriage_seen = True
        text = _wire.FAULT_TEXTS[content.fault]
        yield Trouble(name, number, text, rule_line(path, number, raw))


def unreadable(owner: Owner, path: str) -> Trouble | None:
    """Return the Trouble of a rule file that its own user or group cannot read; or None.

    Raises OSError.
    """
    access = read_access(path)
    if access is None or all(perm & R for perm in access.effective().values()):
        return None
    who = user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident)
    identity = identity_for(who)
    if permits(access, identity.uid, {identity.gid, *identity.groups}, R):
        return None
    return not_readable(owner, path, access, "by whom it is for")


def not_readable(owner: Owner, path: str, access: Access, whom: str) -> Trouble:
    """Return the Trouble of a rule file that a user cannot read. whom: by whom, in words."""
    repair = sudo(("chmod", "0644", path))
    if access.extended:  # chmod(2) would keep the entries of the list; a copy has none
        repair = sudo(("install", "-m", "0644", path, path + ".new"), ("mv", path + ".new", path))
    return Trouble(owner.name, 0, f"cannot be read {whom} ({access.text})", repair)


def flag_kind(flag: Flag) -> Trouble:
    """Return the Trouble of a flag file that is not a regular file."""
    path = path_of(flag.name)
    text = "is a symbolic link, a folder or the like, and refuses the port to everybody"
    return Trouble(flag.name, 0, text, put_aside(path))
