# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl status: the granted ports, each with who holds it and whom it is granted to.

It shows what the files say and what the kernel shows; it does not decide who
may bind: that is check's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click

from ... import holders, pybindd
from ...holders import Process, Socket
from ...permissions.delegations import Delegation, delegations
from ...permissions.rule import ANY, Rule, addresses_text, ports_text
from ...permissions.who import user_of
from .. import output
from ..asking import verification
from ..doctor.kernel import pybindd_sentence

_HEAD = ("PORT", "ADDRESS", "HELD BY", "GRANTED TO")
_PIDS_SHOWN = 3


class Granted(NamedTuple):
    """Granted ports of one protocol.

    rule: the ports, with one protocol. whos: the users and groups, as WHO is typed.
    files: FILE or FILE:LINE, below CONFIG_DIR. held: the sockets that hold the ports.
    """

    rule: Rule
    whos: list[str]
    files: list[str]
    held: list[Socket]


@click.command("status")
@output.json_option
def status_command(as_json: bool) -> int:
    """Show every granted port, who holds it, and who is granted it.

    A range of ports is one line; its held ports stand below it. Processes are shown if
    the caller may see them: root sees all. Grants that are not in force are left out
    (see: pybindctl list).

    Exit status: 0 all grants are in force, 3 something refuses.
    """
    grants, condition = granted()
    opened = holders.held()
    for grant in grants:
        grant.held.extend(sock for sock in opened if _meets(sock, grant.rule))
    judging = pybindd.status()
    processes = holders.processes({sock.inode for grant in grants for sock in grant.held})
    if as_json:
        output.emit_json(
            grants=[_as_object(grant, processes) for grant in grants],
            notes=condition.notes,
            refusing=verification.as_json(condition),
            pybindd=judging,
        )
        return verification.status(condition)
    if grants:
        output.print_lines(output.table(_HEAD, list(_rows(grants, processes))))
    else:
        output.say("no port is granted; to grant one: sudo pybindctl grant USER PORT")
    if judging and judging["in_force"]:
        output.say_prose(pybindd_sentence(judging))
    elif judging:
        output.tell("note", f"pybindd grants nothing now: {judging['why_not']}")
    return verification.tell(condition)


def _meets(sock: Socket, rule: Rule) -> bool:
    """Tell whether a socket may hold a port of a rule of one protocol."""
    theirs = sock.protocol == rule.protocol and rule.port_min <= sock.port <= rule.port_max
    return theirs and holders.in_the_way(sock, rule.addr_min, rule.addr_max)


def granted() -> tuple[list[Granted], verification.Condition]:
    """Return the grants in force, by port, and the condition of the host."""
    condition = verification.host()
    listing = delegations(progress=output.progress)
    by_rule: dict[Rule, Granted] = {}
    for row in listing.delegations:
        if listing.flags.shadow(row.rule, row.flag).whole:
            continue
        for protocol in [row.rule.protocol] if row.rule.protocol else ["tcp", "udp"]:
            rule = row.rule._replace(protocol=protocol)
            _add(by_rule.setdefault(rule, Granted(rule, [], [], [])), row)
    return sorted(by_rule.values(), key=_order), verification.of_listing(listing, condition)


def _add(grant: Granted, row: Delegation) -> None:
    who, place = row.holders, f"{row.name}:{row.line}" if row.line else row.name
    for words, word in ((grant.whos, who), (grant.files, place)):
        if word not in words:
            words.append(word)


def _order(grant: Granted) -> tuple[int, int, int, bytes, str]:
    rule = grant.rule
    return rule.port_min, rule.port_max, rule.family, rule.addr_min, rule.protocol or ""


def _rows(grants: list[Granted], processes: dict[int, list[Process]]) -> Iterator[tuple[str, ...]]:
    at = 0
    while at < len(grants):
        grant, protocol = grants[at], grants[at].rule.protocol or ""
        twin = grants[at + 1] if at + 1 < len(grants) else None
        at += 1
        if twin and _same_but_protocol(grant, twin):
            protocol = "tcp+udp"
            at += 1
        yield _row(grant, protocol, processes)
        if grant.rule.port_min != grant.rule.port_max:
            for port in sorted({sock.port for sock in grant.held}):
                here = [sock for sock in grant.held if sock.port == port]
                yield f"  {port}/{protocol}", "", _held_by(here, grant.rule, processes), ""


def _same_but_protocol(grant: Granted, twin: Granted) -> bool:
    """Tell whether two rows can be one: free ports that differ only in the protocol."""
    same = grant.rule._replace(protocol=None) == twin.rule._replace(protocol=None)
    return same and not grant.held and not twin.held and grant.whos == twin.whos


def _row(grant: Granted, protocol: str, processes: dict[int, list[Process]]) -> tuple[str, ...]:
    held = output.paint("-", output.FAINT)
    count = len({sock.port for sock in grant.held})
    if count and grant.rule.port_min == grant.rule.port_max:
        held = _held_by(grant.held, grant.rule, processes)
    elif count:
        held = f"{count} of {grant.rule.port_max - grant.rule.port_min + 1} ports"
    where = addresses_text(grant.rule)
    return f"{ports_text(grant.rule)}/{protocol}", where, held, ", ".join(grant.whos)


def _held_by(held: list[Socket], rule: Rule, processes: dict[int, list[Process]]) -> str:
    """Return the holders: alice, python3 (4042); with their address if the rule has others."""
    texts = []
    for sock in held:
        text = holder_text(sock, processes)
        wildcard = not any(sock.addr)
        if not wildcard and (rule.family == ANY or rule.addr_min != rule.addr_max):
            text += f" on {sock.text.rpartition(':')[0].strip('[]')}"
        if text not in texts:
            texts.append(text)
    return output.paint("; ".join(texts), output.WARNING)


def holder_text(sock: Socket, processes: dict[int, list[Process]]) -> str:
    """Return the owner of a socket, and the processes that have it open: alice, python3 (4042)."""
    by_name: dict[str, list[str]] = {}
    for process in processes.get(sock.inode, []):
        by_name.setdefault(output.plain(process.name), []).append(str(process.pid))
    words = [user_of(sock.uid).text]
    for name, pids in by_name.items():
        more = f" and {len(pids) - _PIDS_SHOWN} more" if len(pids) > _PIDS_SHOWN else ""
        words.append(f"{name} ({' '.join(pids[:_PIDS_SHOWN])}{more})")
    return ", ".join(words)


def _as_object(grant: Granted, processes: dict[int, list[Process]]) -> dict[str, object]:
    return {
        "ports": [grant.rule.port_min, grant.rule.port_max],
        "protocol": grant.rule.protocol,
        "addresses": addresses_text(grant.rule),
        "granted_by": grant.files,
        "granted_to": grant.whos,
        "free": not grant.held,
        "held": [
            {
                "address": sock.text.rpartition(":")[0].strip("[]"),
                "port": sock.port,
                "uid": sock.uid,
                "user": user_of(sock.uid).name,
                "processes": [
                    {"pid": process.pid, "name": process.name}
                    for process in processes.get(sock.inode, [])
                ],
            }
            for sock in grant.held
        ],
    }
