# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of permission files, as pybind(5) describes them: a name <-> Flag or Owner."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from ..model import ID_MAX, MAPPED
from .rule import ANY, Rule, address_name

RESERVED_MIN, RESERVED_MAX = 512, 1023  # ports whose files have names that start with '!'
LEFT_OVER = (".pybindctl-new", ".pybindctl-old")  # ends of names that a killed pybindctl left
_FLAG_NAME = re.compile(r"(!?)(?:([0-9a-f.:]+)([,:]))?([1-9][0-9]{0,4})(?:,(tcp|udp))?")


class Flag(NamedTuple):
    """A flag file, by its name.

    name: below CONFIG_DIR, such as byport/80,tcp. rule: one port, and ANY or one address.
    """

    name: str
    rule: Rule


class Owner(NamedTuple):
    """A rule file, by its name. ident: uid or gid. reserved: the name has the '!'."""

    name: str
    folder: str
    ident: int
    reserved: bool


class Unknown(NamedTuple):
    """A file that the helper never asks. why: the reason, for people."""

    name: str
    why: str


def is_reserved(port: int) -> bool:
    """Tell whether files for `port` have the '!' in their names."""
    return RESERVED_MIN <= port <= RESERVED_MAX


def pieces(rule: Rule) -> list[Rule]:
    """Split a rule at ports 511/512 and 1023/1024, where the '!' in names begins and ends."""
    borders = ((1, RESERVED_MIN - 1), (RESERVED_MIN, RESERVED_MAX), (RESERVED_MAX + 1, 65535))
    parts = []
    for low, high in borders:
        port_min, port_max = max(low, rule.port_min), min(high, rule.port_max)
        if port_min <= port_max:
            parts.append(rule._replace(port_min=port_min, port_max=port_max))
    return parts


def flag_name(rule: Rule) -> str:
    """Return the flag file's name for a rule of one port, and of ANY or one address."""
    mark = "!" if is_reserved(rule.port_min) else ""
    tail = f"{rule.port_min}" + (f",{rule.protocol}" if rule.protocol else "")
    if rule.family == ANY:
        return f"byport/{mark}{tail}"
    return f"byaddr/{mark}{address_name(rule.addr_min)},{tail}"


def parse_name(folder: str, name: str) -> Flag | Owner | Unknown:
    """Return the kind of a file in one of FOLDERS, by its name."""
    full = f"{folder}/{name}"
    if name.endswith(LEFT_OVER) and name.startswith("."):
        return Unknown(full, "left by a pybindctl that was killed; the next change removes it")
    if folder in ("byport", "byaddr"):
        return _flag(folder, name)
    digits = name[name.startswith("!") :]
    if not re.fullmatch("0|[1-9][0-9]{0,9}", digits) or int(digits) > ID_MAX:
        kind = "user" if folder == "byuser" else "group"
        return Unknown(full, f"not a {kind}'s number: the helper never looks at it")
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
