# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl list: every grant in one table, with its file and line."""

from __future__ import annotations

import gc

import click

from ...errors import UsageError
from ...permissions.delegations import Delegation, delegations
from ...permissions.folders import path_of
from ...permissions.precedence import FlagIndex
from ...permissions.rule import Rule, addresses_text, ports_text
from ...permissions.who import GROUP, USER, Who, identity_of
from ...ports import parse_listed
from .. import output
from ..asking import verification


@click.command("list")
@click.option("--user", metavar="USER", help="Only what this account or uid is granted.")
@click.option("--port", metavar="PORT", help="Only this port (number or service name).")
@output.json_option
def list_command(user: str | None, port: str | None, as_json: bool) -> int:
    """Show every grant, with the file and line that it is from.

    A flag file in byport or byaddr decides before rule files, for everybody. If one
    decides before a rule, the line after the row says so. Files that refuse granted
    ports are named on standard error, with their repair. To know whether a user may
    bind a port, ask: pybindctl check.

    Exit status: 0 all listed grants are in force, 3 something refuses.
    """
    gc.disable()  # a million rows without cycles
    condition = verification.host()
    who = identity_of(user) if user is not None else None
    number = _number(port) if port is not None else None
    listing = delegations(who, number, output.progress)
    rows = sorted(listing.delegations, key=_order)
    condition = verification.of_listing(listing, condition)
    if as_json:
        output.emit_json(
            delegations=(_as_object(row, listing.flags) for row in rows),
            refusing=verification.as_json(condition),
        )
        return verification.status(condition)
    head = ("WHO", "ADDRESS", "PORT", "PROTOCOL", "FROM")
    if not output.print_table(head, (_as_row(row, listing.flags) for row in rows)):
        output.say("nothing is granted")
    return verification.tell(condition)


def _number(text: str) -> int:
    listed = parse_listed(text)
    if listed.addr is not None or listed.protocol is not None:
        raise UsageError(f"bad port {text!r}: list shows every address and protocol of a port")
    return listed.port


def _order(row: Delegation) -> tuple[int, int]:
    return row.rule.port_min, row.rule.port_max


def _protocols(rule: Rule) -> str:
    return rule.protocol or "tcp+udp"


def _as_row(row: Delegation, index: FlagIndex) -> tuple[str, ...]:
    place = f"{row.name} line {row.line}" if row.line else row.name
    shadow = index.shadow(row.rule, row.flag)
    if shadow.flags:
        names = ", ".join(flag.name for flag in shadow.flags[:2])
        names += " and others" if shadow.flags[2:] else ""
        part = "" if shadow.whole else "in part "
        verb = "decides" if len(shadow.flags) == 1 else "decide"
        place += f"\n  {part}not in force: {names} {verb} first"
    rule = row.rule
    return row.holders, addresses_text(rule), ports_text(rule), _protocols(rule), place


def _as_object(row: Delegation, index: FlagIndex) -> dict[str, object]:
    shadow = index.shadow(row.rule, row.flag)
    return {
        "who": _who_object(row.who),
        "but": [_who_object(other) for other in row.but],
        "address": addresses_text(row.rule),
        "ports": [row.rule.port_min, row.rule.port_max],
        "protocols": [row.rule.protocol] if row.rule.protocol else ["tcp", "udp"],
        "file": path_of(row.name),
        "line": row.line or None,
        "decided_before_by": [path_of(flag.name) for flag in shadow.flags],
        "in_force": not shadow.whole,
    }


def _who_object(who: Who) -> dict[str, object]:
    ident = who.ident if who.kind in (USER, GROUP) else None
    return {"kind": who.kind, "id": ident, "name": who.name}
