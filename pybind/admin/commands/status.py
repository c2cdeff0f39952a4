# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl status: the granted ports, each free or held by whom.

It shows what the files say and what the kernel shows; it does not decide who
may bind (a flag file, for one, may shadow a rule): that is check's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Union

import click

from ...holders import Process, Socket, held, in_the_way, processes
from ...paths import CONFIG_DIR
from ...permissions import who
from ...permissions.errors import Invalid
from ...permissions.names import Flag, Owner, Unknown
from ...permissions.precedence import in_force
from ...permissions.reading import read_rules, scan
from ...permissions.rule import Rule, addresses_text, parse, ports_text
from .. import output

_HEAD = ("PORT", "PROTOCOL", "ADDRESS", "STATE", "GRANTED BY")
_Entry = Union[Flag, Owner, Unknown]


class Grant(NamedTuple):
    """Ports that files grant: rule has one protocol; files are names below CONFIG_DIR."""

    rule: Rule
    files: list[str]
    held: list[Socket]


@click.command("status")
@output.json_option
def status_command(as_json: bool) -> int:
    """Show every granted port: free, or held by whom.

    For TCP and UDP, IPv4 and IPv6; a range is one line, with the ports in it
    that are held below it. Processes are shown where the caller may see them:
    root sees all.
    """
    found, notes = granted()
    opened = held()
    for grant in found:
        grant.held.extend(s for s in opened if _may_meet(s, grant.rule))
    holders = processes({sock.inode for grant in found for sock in grant.held})
    if as_json:
        grants = [_as_object(grant, holders) for grant in found]
        output.emit_json(grants=grants, notes=notes)
        return 0
    if found:
        output.print_lines(output.table(_HEAD, list(_rows(found, holders))))
    else:
        output.say("no port is granted; to grant one: pybindctl grant USER PORT")
    for note in notes:
        click.echo(f"pybindctl: note: {note}", err=True)
    return 0


def granted() -> tuple[list[Grant], list[str]]:
    """Return what the files grant, by port, and notes about files that grant nothing."""
    files: dict[Rule, list[str]] = {}
    notes = []
    for entry in output.progress(list(scan()), "reading"):
        rules, note = _read(entry)
        notes += note
        for rule, source in rules:
            for protocol in [rule.protocol] if rule.protocol else ["tcp", "udp"]:
                files.setdefault(rule._replace(protocol=protocol), []).append(source)
    found = [Grant(rule, names, []) for rule, names in files.items()]
    return sorted(found, key=_order), notes


def _order(grant: Grant) -> tuple[int, int, str, int, bytes]:
    rule = grant.rule
    return rule.port_min, rule.port_max, rule.protocol or "", rule.family, rule.addr_min


def _read(entry: _Entry) -> tuple[list[tuple[Rule, str]], list[str]]:
    try:
        return list(_rules(entry)), []
    except Invalid as error:
        return [], [error.lines[0]]
    except OSError as error:
        return [], [f"{CONFIG_DIR}/{entry.name}: {error.strerror}"]


def _rules(entry: _Entry) -> Iterator[tuple[Rule, str]]:
    """Yield what a file is about, with the file and line that say so."""
    if isinstance(entry, Flag):
        yield entry.rule, entry.name
    if not isinstance(entry, Owner):
        return
    for line in parse(read_rules(entry.name) or b""):
        if isinstance(line.what, Rule):
            for part in in_force(line.what, entry.reserved):
                yield part, f"{entry.name}:{line.number}"


def _may_meet(sock: Socket, rule: Rule) -> bool:
    """Tell whether somebody who uses `rule` (of one protocol) may meet the socket."""
    return (
        sock.protocol == rule.protocol
        and rule.port_min <= sock.port <= rule.port_max
        and in_the_way(sock, rule.addr_min, rule.addr_max)
    )


def _rows(
    found: list[Grant], holders: dict[int, list[Process]]
) -> Iterator[tuple[str, str, str, str, str]]:
    for grant in found:
        state = output.paint("free", output.GOOD)
        if grant.held:
            ports = len({sock.port for sock in grant.held})
            word = "held" if grant.rule.port_min == grant.rule.port_max else f"{ports} held"
            state = output.paint(word, output.WARNING)
        protocol, files = grant.rule.protocol or "", " ".join(map(output.plain, grant.files))
        yield ports_text(grant.rule), protocol, addresses_text(grant.rule), state, files
        for sock in grant.held:
            address = sock.text.rpartition(":")[0].strip("[]")
            yield f"  {sock.port}", protocol, address, _holder(sock, holders), ""


def _holder(sock: Socket, holders: dict[int, list[Process]]) -> str:
    text = f"by {who.user_of(sock.uid).described}"
    by_name: dict[str, list[str]] = {}
    for process in holders.get(sock.inode, []):
        by_name.setdefault(output.plain(process.name), []).append(str(process.pid))
    if by_name:
        text += ": " + ", ".join(f"{name} {' '.join(pids)}" for name, pids in by_name.items())
    return text


def _as_object(grant: Grant, holders: dict[int, list[Process]]) -> dict[str, object]:
    return {
        "ports": [grant.rule.port_min, grant.rule.port_max],
        "protocol": grant.rule.protocol,
        "addresses": addresses_text(grant.rule),
        "granted_by": grant.files,
        "free": not grant.held,
        "held": [
            {
                "address": sock.text.rpartition(":")[0].strip("[]"),
                "port": sock.port,
                "uid": sock.uid,
                "user": who.user_of(sock.uid).name,
                "processes": [
                    {"pid": process.pid, "name": process.name}
                    for process in holders.get(sock.inode, [])
                ],
            }
            for sock in grant.held
        ],
    }
