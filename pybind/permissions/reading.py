# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the permission files as they are; decides nothing.

What it says the files say is held against the helper by a property test
(tests/admin/test_listing.py).
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from typing import NamedTuple

from .. import _wire
from ..paths import CONFIG_DIR, FOLDERS
from ..trust import NO_FOLDER, UNSAFE, folder_faults, others_can_write
from .access import Access, X, from_mode, permits, read_access
from .errors import Invalid
from .names import Flag, Owner, Unknown, parse_name
from .rule import Broken, Line, parse, parse_line

FILE_SIZE_MAX = 1 << 20  # the helper refuses a larger rule file


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


def scan() -> Iterator[Flag | Owner | Unknown]:
    """Yield every name in the four folders, in the order of FOLDERS and of names.

    A folder that does not exist is empty; raises OSError for other trouble.
    """
    for folder in FOLDERS:
        try:
            names = sorted(os.listdir(path_of(folder)))
        except FileNotFoundError:
            continue
        for name in names:
            yield parse_name(folder, os.fsencode(name).decode("utf-8", "backslashreplace"))


def path_of(name: str) -> str:
    """Return the path of a name below the permission directory; a path stays."""
    return name if name.startswith("/") else f"{CONFIG_DIR}/{name}"


def owner_of(folder: str, name: str) -> Owner | None:
    """Return whose rules a file holds, by its name and its folder's; None if neither says so."""
    what = parse_name(folder, name) if folder in FOLDERS[2:] else None
    return what if isinstance(what, Owner) else None


def read_rule_file(name: str, path: str) -> tuple[list[Line], list[Trouble]]:
    """Return the lines of a rule file, and why the helper refuses it.

    No lines where it is not to be read. Raises OSError (PermissionError where
    the caller is not root).
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
    """Return the contents of rule file `name` (below CONFIG_DIR), None if there is none.

    Raises Invalid for a file that the helper refuses whatever it is asked:
    unsafe, too big, or with a broken line.
    """
    path = path_of(name)
    try:
        status, data = _open_and_read(path)
    except FileNotFoundError:
        return None
    if data is None:
        raise Invalid(f"{path}: is {_kind(status)}", f"put it aside: mv '{path}' '{path}.old'")
    if others_can_write(status):
        raise Invalid(
            f"{path}: others than root can write it (owner {status.st_uid}, mode "
            f"{_mode(status)}); pybind refuses such a file",
            f"read it, then: chown root:root '{path}' && chmod 0644 '{path}'",
        )
    check_rules(name, data)
    return data


def check_rules(name: str, data: bytes) -> None:
    """Raise Invalid, with file and line, where the helper would refuse these contents."""
    path = path_of(name)
    if len(data) > FILE_SIZE_MAX:
        raise Invalid(f"{path}: is larger than 1 MiB; pybind refuses such a file")
    for line in parse(data):
        if isinstance(line.what, Broken):
            raise Invalid(
                f"{path} line {line.number}: {line.what.text}; pybind refuses the whole file",
                f"correct the line, see also: pybindctl lint '{path}'",
            )


def _open_and_read(path: str) -> tuple[os.stat_result, bytes | None]:
    """Return what is at a path and its contents, as the helper opens a rule file.

    Of more than FILE_SIZE_MAX bytes one more is returned; None of what is no
    regular file. Raises OSError.
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
    """Return what is wrong with a rule file of more than 1 MiB."""
    text = "is larger than 1 MiB; rules for a group belong in bygroup, a port range is one line"
    quoted = shlex.quote(path_of(name))
    return Trouble(name, 0, text, f"mv {quoted} {quoted}.old")


def _unsafe(name: str, path: str, status: os.stat_result) -> Trouble | None:
    quoted = shlex.quote(path)
    if not stat.S_ISREG(status.st_mode):
        return Trouble(name, 0, f"is {_kind(status)}", f"mv {quoted} {quoted}.old")
    if others_can_write(status):
        text = (
            f"is not safely root's (owner {status.st_uid}, mode {_mode(status)}): "
            "others could write it"
        )
        return Trouble(name, 0, text, f"chown root:root {quoted} && chmod 0644 {quoted}")
    return None


def _kind(status: os.stat_result) -> str:
    return "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"


def faults(name: str, path: str, lines: list[Line]) -> Iterator[Trouble]:
    """Yield the broken lines; a file of CR LF lines is one fault, not one for each line."""
    quoted = shlex.quote(path)
    carriage_seen = False
    for number, raw, what in lines:
        if not isinstance(what, Broken):
            continue
        text, fault = _wire.FAULT_TEXTS[what.fault], what.fault
        if raw.endswith(b"\r") and not isinstance(parse_line(raw[:-1]), Broken):
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
        found_faults = folder_faults(status)
        if NO_FOLDER in found_faults:
            repair = f"mv {quoted} {quoted}.old && install -d -m 0755 {quoted}"
            found.append(Trouble(path, 0, "is no directory (nor a link to one)", repair))
        elif UNSAFE in found_faults:
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
