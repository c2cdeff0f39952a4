# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads lists of grants: `25:exim` lines and FreeBSD's mac_portacl."""

from __future__ import annotations

import re

from ...errors import PybindError
from ...model import Address
from ...permissions.errors import AdminError, Invalid
from ...permissions.rule import ANY, Rule
from ...permissions.spec import parse_spec
from ...permissions.who import EVERYONE, USER, Identity, Who, group, parse_who, user
from .cells import covers
from .source import Claim, Grant, Left, OldAnswer, Source, empty

_PORT_MAX = 65535
_SIZE_MAX = 1 << 28  # of a list


def daemonusr(path: str) -> Source:
    """Read lines PORT:USER, as in `25:exim`; PORT may be any SPEC.

    Raises Invalid, which names the wrong line, and AdminError.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_SIZE_MAX + 1)
    except OSError as error:
        raise AdminError(f"{path}: {error.strerror}") from None
    if len(data) > _SIZE_MAX:
        raise Invalid(f"{path}: is larger than {_SIZE_MAX >> 20} MiB")
    lines = data.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape").split("\n")
    source = _source(path)
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
            f"{where}: 'everyone' is not a user; to open a port: sudo pybindctl grant everyone PORT"
        )
    _add(source, where, who, rule)
    if name.lstrip("@").isdecimal():
        source.notes.append(Left(where, item, _named(who)))


def _named(who: Who) -> str:
    kind = "uid" if who.kind == USER else "gid"
    if who.name == str(who.ident):
        return f"{kind} {who.ident} has no name on this host"
    return f"{kind} {who.ident} is {who.text} on this host"


_PORTACL = re.compile(r"(uid|gid):([^:]*):(tcp|udp):([^:]*)")


def portacl(text: str) -> Source:
    """Read the rules of FreeBSD's mac_portacl(4): uid:80:tcp:80,gid:1001:udp:53.

    The name of its sysctl may stand before them. Raises Invalid.
    """
    source = _source("mac_portacl rules")
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
        source.notes.append(Left(where, item, f"{_named(who)}; FreeBSD's numbers are not Linux's"))
    return source


def _source(title: str) -> Source:
    """Return an empty Source whose ask() answers by its own list of grants."""
    grants: list[Grant] = []

    def ask(identity: Identity, addresses: list[Address]) -> list[OldAnswer]:
        gids = (identity.gid, *identity.groups)
        held = [
            grant.rule
            for grant in grants
            if grant.who.ident in ((identity.uid,) if grant.who.kind == USER else gids)
        ]
        return [OldAnswer(any(covers(rule, address) for rule in held)) for address in addresses]

    return empty(title, _PORT_MAX, ask)._replace(grants=grants)


def _add(source: Source, where: str, who: Who, rule: Rule) -> None:
    source.grants.append(Grant(who, rule, where))
    source.claims.append(Claim(who, rule))
