# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what others keep their grants in: `25:exim` lines and FreeBSD's mac_portacl.

What a reader returns is a Source: what to grant here, and what cannot be
carried over, with its reason. authbind's folders
are authbind.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ...errors import PybindError
from ...model import Address
from ...permissions.access import Access
from ...permissions.errors import AdminError, Invalid
from ...permissions.names import pieces
from ...permissions.rule import ANY, Rule
from ...permissions.spec import parse_spec, samples
from ...permissions.who import EVERYONE, Who, group, parse_who, user


class Left(NamedTuple):
    """Something that is not carried over. where: file and line; text: what stands there."""

    where: str
    text: str
    why: str


class Question(NamedTuple):
    """Whether this user or group may bind this address."""

    who: Who
    address: Address


class Old(NamedTuple):
    """The answer there was. why_not: why the permission behind it is not carried over, or ""."""

    granted: bool
    why_not: str = ""


class Grant(NamedTuple):
    """One old permission, to be granted as pybindctl grant does it."""

    who: Who
    rule: Rule
    where: str


class Source(NamedTuple):
    """Grants of another program, as what is to be made here.

    flags: name of a flag file -> who may execute it; files: name of a rule file
    -> its lines; grants: what is granted beside whole files. left: what is not
    carried over; changed: lines that are written differently, with a note.
    questions: what to ask before and after; ask: what the other program answers.
    """

    title: str
    flags: dict[str, Access]
    files: dict[str, list[bytes]]
    grants: list[Grant]
    left: list[Left]
    changed: list[Left]
    questions: list[Question]
    ask: Callable[[list[Question]], list[Old]]


def daemonusr(path: str) -> Source:
    """Read lines PORT:USER, as in `25:exim`; PORT may be any SPEC.

    Raises Invalid, with the line that cannot be understood.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise AdminError(f"{path}: {error.strerror}") from None
    source = _empty(path)
    for number, line in enumerate(lines, 1):
        for item in line.partition("#")[0].split(","):
            if item.strip():
                _add_daemonusr(source, f"{path} line {number}", item.strip())
    return source


def _add_daemonusr(source: Source, where: str, item: str) -> None:
    spec, _, name = (part.strip() for part in item.rpartition(":"))
    if not spec or not name:
        raise Invalid(f"{where}: {item!r} is not PORT:USER, such as 25:exim")
    try:
        rule = parse_spec(spec)
    except PybindError as error:
        raise Invalid(f"{where}: {error.lines[0]}") from None
    try:
        who = parse_who(name)
    except AdminError as error:
        source.left.append(Left(where, item, "; ".join(error.lines)))
        return
    if who.kind == EVERYONE:
        raise Invalid(
            f"{where}: 'everyone' is not a user; to open a port: pybindctl grant everyone"
        )
    _add(source, where, who, rule)


_PORTACL = re.compile(r"(uid|gid):([^:]*):(tcp|udp):([^:]*)")


def portacl(text: str) -> Source:
    """Read the rules of FreeBSD's mac_portacl(4): uid:80:tcp:80,gid:1001:udp:53.

    The name of its sysctl may stand before them. Raises Invalid.
    """
    source = _empty("mac_portacl rules")
    rules = re.sub(r"^\s*security\.mac\.portacl\.rules\s*[=:]\s*", "", text).strip().strip("\"'")
    for number, item in enumerate(filter(None, map(str.strip, rules.split(","))), 1):
        where = f"rule {number}"
        match = _PORTACL.fullmatch(item)
        if match is None:
            raise Invalid(f"{where}: {item!r} is not uid|gid:NUMBER:tcp|udp:PORT")
        kind, ident, protocol, port = match.groups()
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise Invalid(f"{where}: {item!r}: ports are 0 to 65535")
        try:
            who = user(ident) if kind == "uid" else group(ident)
        except AdminError as error:
            raise Invalid(f"{where}: {item!r}: {error.lines[0]}") from None
        if int(port) == 0:
            source.left.append(Left(where, item, "port 0 means any free port, and needs no grant"))
            continue
        _add(source, where, who, Rule(ANY, b"", b"", int(port), int(port), protocol))
        if who.name == str(who.ident):
            why = f"{kind} {ident} has no name here; FreeBSD's numbers are not Linux's"
            source.changed.append(Left(where, item, f"carried over as it is: {why}"))
    return source


def _empty(title: str) -> Source:
    def ask(questions: list[Question]) -> list[Old]:
        return [Old(True) for _ in questions]

    return Source(title, {}, {}, [], [], [], [], ask)


def _add(source: Source, where: str, who: Who, rule: Rule) -> None:
    source.grants.append(Grant(who, rule, where))
    for piece in pieces(rule):
        source.questions.extend(Question(who, address) for address in samples(piece))
