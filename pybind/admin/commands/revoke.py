# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl revoke: takes ports away, and names those who still have or hold them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ... import holders
from ...permissions.changing import differences, editing
from ...permissions.changing.writing import Change, need_root
from ...permissions.errors import STATUS_NO
from ...permissions.rule import ANY, Rule
from ...permissions.who import USER, Who, parse_who, user_of
from .. import output
from ..asking.verification import verify
from ..changing.granting import (
    bound,
    by_file,
    carry_out,
    emit,
    parse_specs,
    report_changes,
    say_refused,
    subject,
)

_ALL = Rule(ANY, b"", b"", 1, 65535, None)


@click.command("revoke")
@output.who_and_specs(required=False)
def revoke_command(who: str, specs: tuple[str, ...], yes: bool, as_json: bool) -> int:  # noqa: ARG001 # as for grant
    """Take ports away from a user, a @group or everyone.

    WHO and SPEC are as in grant. Without SPEC, or with all, every grant of WHO is taken
    away. Only grants of WHO itself are removed: if a group or everyone still has the
    port, that file is named. A server that holds the port keeps it, and is named.
    """
    need_root()
    every = not specs or specs == ("all",)
    whom, rules = parse_who(who), [_ALL] if every else parse_specs("revoke", who, specs)
    changes = carry_out(editing.revoke, whom, rules)
    answers, problem = ([], ()) if every else verify(whom, rules, by_files=True)
    if as_json:
        emit("revoke", whom, changes, answers, problem)
        return STATUS_NO if problem else 0
    ports = "everything" if every else bound(rules)
    if changes:
        output.say_prose(f"revoked from {whom.described}: {ports}", indent="  ")
        if every:
            report_changes(changes)
    else:
        output.say_prose(_was_nothing(whom, ports, every), indent="  ")
    for where, addresses in by_file([answer for answer in answers if answer.by_files]).items():
        output.say_prose(f"still granted by {where}: {addresses}", indent="  ")
    wildcards = [] if problem else verify(whom, _wildcards(rules), by_files=True)[0]
    for where, addresses in by_file([answer for answer in wildcards if answer.by_files]).items():
        text = f"note: {where} grants {addresses}: whoever binds that takes the address too"
        output.say_prose(text, indent="  ")
    for line in _still_held(whom, _ports_of(changes, rules, every)):
        output.say_prose(line, indent="  ")
    say_refused(whom, [], problem)
    return STATUS_NO if problem else 0


def _was_nothing(who: Who, ports: str, every: bool) -> str:
    if every:
        return f"nothing to revoke: {who.described} was granted nothing"
    return f"{subject(who)} was granted nothing of that: {ports}"


def _ports_of(changes: Sequence[Change], rules: list[Rule], every: bool) -> list[Rule]:
    """Return the rules whose ports were revoked."""
    if not changes:
        return []
    return differences.lost(changes) if every else rules


def _still_held(who: Who, rules: Sequence[Rule]) -> list[str]:
    """Return lines about processes that still hold a revoked port."""
    sockets = {}
    for sock in holders.held():
        theirs = sock.uid == who.ident if who.kind == USER else sock.uid != 0
        if theirs and any(_meets(sock, rule) for rule in rules):
            sockets[sock.inode] = sock
    processes = holders.processes(sockets)
    lines = []
    for inode, sock in sockets.items():
        port, owner = f"{sock.port}/{sock.protocol}", user_of(sock.uid).text
        named = [f"{output.plain(one.name)} ({one.pid})" for one in processes.get(inode, [])]
        pids = " ".join(str(one.pid) for one in processes.get(inode, []))
        if named:
            lines.append(
                f"note: {', '.join(named)} of {owner} still holds {port}; "
                f"to close the port: sudo kill {pids}"
            )
        else:
            lines.append(f"note: a socket of {owner} still holds {port}")
    return lines


def _meets(sock: holders.Socket, rule: Rule) -> bool:
    """Tell whether a socket holds a port of a rule."""
    inside = rule.port_min <= sock.port <= rule.port_max
    inside = inside and rule.protocol in (None, sock.protocol)
    return inside and holders.in_the_way(sock, rule.addr_min, rule.addr_max)


def _wildcards(rules: Sequence[Rule]) -> list[Rule]:
    """Return a rule for 0.0.0.0 or :: for each rule about other addresses."""
    zeros = {4: bytes(4), 16: bytes(16)}
    return [
        rule._replace(addr_min=zeros[len(rule.addr_min)], addr_max=zeros[len(rule.addr_min)])
        for rule in rules
        if rule.family != ANY and any(rule.addr_min)
    ]
