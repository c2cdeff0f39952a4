# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the permission files as pybind(5) describes them; decides nothing.

Names below /etc/pybind become Flag or Owner, lines become Rule; whether a user
is granted something is asked of the helper (ask.py), never found out here.
Writing is changes.py's.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ..model import ID_MAX, MAPPED
from ..paths import CONFIG_DIR
from .errors import Invalid
from .rule import (
    ANY,
    LINE_LEN_MAX,
    Broken,
    Line,
    Rule,
    address_name,
    addresses_text,
    parse,
    parse_line,
    rule_text,
)

__all__ = [
    "ANY",
    "FILE_SIZE_MAX",
    "FOLDERS",
    "LEFT_OVER",
    "LINE_LEN_MAX",
    "Broken",
    "Flag",
    "Line",
    "Owner",
    "Rule",
    "Unknown",
    "address_name",
    "addresses_text",
    "check_rules",
    "flag_name",
    "is_reserved",
    "parse",
    "parse_line",
    "parse_name",
    "read_rules",
    "rule_text",
    "scan",
]

FOLDERS = ("byport", "byaddr", "byuser", "bygroup")
FILE_SIZE_MAX = 1 << 20
RESERVED_MIN, RESERVED_MAX = 512, 1023  # their files' names start with '!'
LEFT_OVER = (".pybindctl-new", ".pybindctl-old")  # how names of ours end that a kill left
_FLAG_NAME = re.compile(r"(!?)(?:([0-9a-f.:]+)([,:]))?([1-9][0-9]{0,4})(?:,(tcp|udp))?")


class Flag(NamedTuple):
    """A flag file's name, understood. name: below CONFIG_DIR, such as byport/80,tcp.

    rule: what it covers: one port; ANY or one address.
    """

    name: str
    rule: Rule


class Owner(NamedTuple):
    """A rule file's name, understood. ident: uid or gid; reserved: has the '!'."""

    name: str
    folder: str
    ident: int
    reserved: bool


class Unknown(NamedTuple):
    """A file that the helper never looks at. why: a reason for people."""

    name: str
    why: str


def read_rules(name: str) -> bytes | None:
    """Return the contents of rule file `name` (below CONFIG_DIR), None if there is none.

    Raises Invalid for a file that the helper refuses whatever it is asked:
    unsafe, too big, or with a broken line.
    """
    path = f"{CONFIG_DIR}/{name}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        if not os.path.islink(path):
            raise
        raise Invalid(
            f"{path}: is a symbolic link", f"put it aside: mv '{path}' '{path}.old'"
        ) from None
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Invalid(f"{path}: is no regular file", f"put it aside: mv '{path}' '{path}.old'")
        if status.st_uid != 0 or status.st_mode & 0o022:
            raise Invalid(
                f"{path}: others than root can write it (owner {status.st_uid}, mode "
                f"{status.st_mode & 0o7777:04o}); pybind refuses such a file",
                f"read it, then: chown root:root '{path}' && chmod 0644 '{path}'",
            )
        data = file.read(FILE_SIZE_MAX + 1)
    check_rules(name, data)
    return data


def check_rules(name: str, data: bytes) -> None:
    """Raise Invalid, with file and line, where the helper would refuse these contents."""
    path = f"{CONFIG_DIR}/{name}"
    if len(data) > FILE_SIZE_MAX:
        raise Invalid(f"{path}: is larger than 1 MiB; pybind refuses such a file")
    for line in parse(data):
        if isinstance(line.what, Broken):
            raise Invalid(
                f"{path} line {line.number}: {line.what.text}; pybind refuses the whole file",
                f"correct the line, see also: pybindctl lint '{path}'",
            )


def is_reserved(port: int) -> bool:
    """Tell whether files for `port` have the '!' in their names."""
    return RESERVED_MIN <= port <= RESERVED_MAX


def flag_name(rule: Rule) -> str:
    """Return the name of the flag file for a rule of one port, and ANY or one address."""
    mark = "!" if is_reserved(rule.port_min) else ""
    tail = f"{rule.port_min}" + (f",{rule.protocol}" if rule.protocol else "")
    if rule.family == ANY:
        return f"byport/{mark}{tail}"
    return f"byaddr/{mark}{address_name(rule.addr_min)},{tail}"


def parse_name(folder: str, name: str) -> Flag | Owner | Unknown:
    """Return what a file in one of FOLDERS is for, by its name."""
    full = f"{folder}/{name}"
    if name.endswith(LEFT_OVER) and name.startswith("."):
        return Unknown(full, "left by a pybindctl that was killed; the next change removes it")
    if folder in ("byport", "byaddr"):
        return _flag(folder, name)
    digits = name[name.startswith("!") :]
    if not re.fullmatch("0|[1-9][0-9]{0,9}", digits) or int(digits) > ID_MAX:
        what = "user" if folder == "byuser" else "group"
        return Unknown(full, f"not a {what}'s number: the helper never looks at it")
    return Owner(full, folder, int(digits), name.startswith("!"))


def _flag(folder: str, name: str) -> Flag | Unknown:
    full = f"{folder}/{name}"
    match = _FLAG_NAME.fullmatch(name)
    if match is None or int(match[4]) > 65535 or (match[2] is None) != (folder == "byport"):
        form = "PORT[,PROTOCOL]" if folder == "byport" else "ADDRESS,PORT[,PROTOCOL]"
        return Unknown(full, f"not of the form {form}: the helper never looks at it")
    port = int(match[4])
    if bool(match[1]) != is_reserved(port):
        fix = "needs a '!' before its name" if is_reserved(port) else "must have no '!'"
        return Unknown(full, f"port {port} {fix}: the helper never looks at it")
    if match[2] is None:
        return Flag(full, Rule(ANY, b"", b"", port, port, match[5]))
    family = int(socket.AF_INET6 if ":" in match[2] else socket.AF_INET)
    try:
        addr = socket.inet_pton(family, match[2])
    except OSError:
        return Unknown(full, f"{match[2]} is no address: the helper never looks at it")
    spellings = (address_name(addr), address_name(addr, short=False))
    if match[2] not in spellings or (match[3] == ":" and (match[5] or family != socket.AF_INET)):
        rule = Rule(family, addr, addr, port, port, match[5])
        return Unknown(full, f"is spelled {flag_name(rule)}: the helper never looks at it")
    if addr.startswith(MAPPED) and family == socket.AF_INET6:
        return Unknown(full, "a mapped address is judged as the IPv4 address inside it")
    return Flag(full, Rule(family, addr, addr, port, port, match[5]))


def scan() -> Iterator[Flag | Owner | Unknown]:
    """Yield every name in the four folders, in the order of FOLDERS and of names.

    A folder that does not exist is empty; raises OSError for other trouble.
    """
    for folder in FOLDERS:
        try:
            names = sorted(os.listdir(f"{CONFIG_DIR}/{folder}"))
        except FileNotFoundError:
            continue
        for name in names:
            yield parse_name(folder, os.fsencode(name).decode("utf-8", "backslashreplace"))
