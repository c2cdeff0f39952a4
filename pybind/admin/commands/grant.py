# SPDX-License-Identifier: GPL-3.0-or-later
"""`pybindctl grant` and `pybindctl revoke`: the command line, the questions, the report.

What is written is planning.py's; what is allowed then is asked of the helper.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import click

from ... import _wire, diagnose, explain
from ...errors import HelperUnusable
from ...model import Address, Reply
from ...paths import CONFIG_DIR
from ...permissions import differences, editing
from ...permissions.errors import STATUS_NO, AdminError
from ...permissions.names import RESERVED_MAX, RESERVED_MIN, pieces
from ...permissions.rule import ANY, Rule
from ...permissions.spec import parse_spec, samples, spec_text
from ...permissions.state import State
from ...permissions.who import EVERYONE, Who, identity_for, parse_who
from ...permissions.writing import Change, commit, left_over, locked, need_root
from .. import ask, output

_Plan = Callable[[State, Who, Rule], None]
_EVERY_PORT_MAX = 16  # in a longer range the corners are asked about, and ports with flag files


class Answer(NamedTuple):
    """What the helper said about one address."""

    address: Address
    reply: Reply

    @property
    def granted(self) -> bool:
        """Tell whether the files grant it (a helper without its capability says so too)."""
        return self.reply.reason in (_wire.REASON_GRANTED, _wire.REASON_NO_CAPABILITY)


def _arguments(function: Callable[..., int]) -> Callable[..., int]:
    function = output.json_option(function)
    function = click.option("--yes", is_flag=True, help="Do not ask.")(function)
    function = click.argument("specs", nargs=-1, required=True, metavar="SPEC...")(function)
    return click.argument("who", metavar="WHO")(function)


@click.command("grant")
@_arguments
def grant_command(who: str, specs: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Grant ports to a user, a @group or everyone.

    WHO is a user's name or number, @ and a group's, or everyone. SPEC is
    [ADDR:]PORT[/PROTO] as in pybind --port, a range of ports (8000-8010), or
    a prefix (192.0.2.0/24:443, [2001:db8::]/32:443). Without an address every
    address is meant, without a protocol TCP and UDP.

    All or nothing: a SPEC that cannot be granted leaves everything as it was.
    """
    need_root()
    whom, rules = parse_who(who), [parse_spec(spec) for spec in specs]
    changes = _carry_out(editing.grant, whom, rules, None if yes else _warnings(whom, rules))
    answers, problem = verify(whom, rules)
    refused = [answer for answer in answers if not answer.granted]
    status = STATUS_NO if refused or problem else 0
    if as_json:
        _emit("grant", whom, changes, answers, problem)
        return status
    _report(changes, f"already granted to {whom.described}: {_specs(rules)}")
    if changes and not refused and not problem:
        output.say(f"granted to {whom.described}: {_specs(rules)}")
    for line in _notes(whom, rules, answers):
        output.say(line)
    say_refused(whom, refused, problem)
    return status


@click.command("revoke")
@_arguments
def revoke_command(who: str, specs: tuple[str, ...], yes: bool, as_json: bool) -> int:  # noqa: ARG001 # as for grant
    """Take ports away from a user, a @group or everyone: exactly those, nothing beside them.

    WHO and SPEC are as in grant. Only what is granted to WHO himself goes;
    where a group or everyone still has it, that file is named.
    """
    need_root()
    whom, rules = parse_who(who), [parse_spec(spec) for spec in specs]
    changes = _carry_out(editing.revoke, whom, rules, None)
    answers, problem = verify(whom, rules)
    if as_json:
        _emit("revoke", whom, changes, answers, problem)
        return STATUS_NO if problem else 0
    _report(changes, f"was not granted to {whom.described}: {_specs(rules)}")
    if changes:
        output.say(f"revoked from {whom.described}: {_specs(rules)}")
    for where, addresses in _by_file([answer for answer in answers if answer.granted]).items():
        output.say(f"still granted by {where}: {addresses}")
    wildcards = [] if problem else verify(whom, _wildcards(rules))[0]
    for where, addresses in _by_file([answer for answer in wildcards if answer.granted]).items():
        output.say(f"note: {where} grants {addresses}: whoever binds that takes the address too")
    say_refused(whom, [], problem)
    return STATUS_NO if problem else 0


def _carry_out(
    plan: _Plan, who: Who, rules: Sequence[Rule], warnings: Sequence[str] | None
) -> list[Change]:
    """Plan, ask where there is something to ask, plan again under the lock, and write."""
    needed = _planned(plan, who, rules)
    if not needed and not left_over():
        return []
    if needed and warnings:
        _confirm(warnings)
    with locked():
        changes = _planned(plan, who, rules)
        commit(changes)
    return changes


def _planned(plan: _Plan, who: Who, rules: Sequence[Rule]) -> list[Change]:
    state = State()
    for rule in rules:
        plan(state, who, rule)
    return state.changes()


def _warnings(who: Who, rules: Sequence[Rule]) -> list[str]:
    lines = []
    if any(rule.port_min <= RESERVED_MAX and rule.port_max >= RESERVED_MIN for rule in rules):
        lines.append(
            "ports 512 to 1023: rsh, NFS and their like take a source port there as a proof of root"
        )
    if any(rule.protocol != "tcp" and rule.family != ANY for rule in rules):
        lines.append(
            "UDP: a granted address limits where packets are received, not the source of those sent"
        )
    if who.kind == EVERYONE:
        lines.append("everyone: every user and every service of this host may take the port")
    return lines


def _confirm(warnings: Sequence[str]) -> None:
    for line in warnings:
        click.echo(f"pybindctl: warning: {line}", err=True)
    if not sys.stdin.isatty():
        raise AdminError("nothing was changed: this needs a confirmation", "to confirm: --yes")
    click.confirm("grant it?", abort=True, err=True)


def verify(who: Who, rules: Sequence[Rule]) -> tuple[list[Answer], tuple[str, ...]]:
    """Return what the helper says to `who` now, and why it could not be asked."""
    state = State()
    addresses: list[Address] = []
    for rule in rules:
        for piece in pieces(rule):
            ports = {piece.port_min, piece.port_max}
            if piece.port_max - piece.port_min < _EVERY_PORT_MAX:
                ports.update(range(piece.port_min, piece.port_max + 1))
            flags = state.flags(piece.port_min, piece.port_max)
            ports.update([placed.flag.rule.port_min for placed in flags][:64])
            for port in sorted(ports):
                addresses.extend(samples(piece._replace(port_min=port, port_max=port)))
    addresses = list(dict.fromkeys(addresses))
    try:
        replies = ask.ask(identity_for(who), addresses)
    except HelperUnusable as error:
        return [], ("not verified: " + error.lines[0], *error.lines[1:])
    return [Answer(*pair) for pair in zip(addresses, replies)], ()


def _wildcards(rules: Sequence[Rule]) -> list[Rule]:
    """Return 0.0.0.0 and :: for each rule of other addresses."""
    zeros = {4: bytes(4), 16: bytes(16)}
    return [
        rule._replace(addr_min=zeros[len(rule.addr_min)], addr_max=zeros[len(rule.addr_min)])
        for rule in rules
        if rule.family != ANY and any(rule.addr_min)
    ]


def _by_file(answers: Sequence[Answer]) -> dict[str, str]:
    """Return file and line -> the addresses that it grants, as text."""
    found: dict[str, list[str]] = {}
    for address, reply in answers:
        line = f" line {reply.line}" if reply.line else ""
        found.setdefault(f"{CONFIG_DIR}/{reply.name}{line}", []).append(explain.what(address))
    return {
        where: ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")
        for where, words in found.items()
    }


def _notes(who: Who, rules: Sequence[Rule], answers: Sequence[Answer]) -> list[str]:
    lines = [
        f"{who.text} may now bind {addresses} ({where})"
        for where, addresses in _by_file([answer for answer in answers if answer.granted]).items()
    ]
    start = diagnose.first_unprivileged_port()
    open_to_all = [spec_text(rule) for rule in rules if rule.port_min >= start]
    if open_to_all:
        lines.append(
            f"note: the kernel lets everybody bind {', '.join(open_to_all)} without a grant "
            f"(net.ipv4.ip_unprivileged_port_start is {start})"
        )
    return lines


def say_refused(who: Who, refused: Sequence[Answer], problem: Sequence[str]) -> None:
    """Print what the helper still refuses, or why it could not be asked."""
    lines = list(problem)
    for address, reply in refused[:4]:
        why = _wire.REASON_TEXTS.get(reply.reason, f"reason {reply.reason}")
        where = f"{CONFIG_DIR}/{reply.name}: " if reply.name else ""
        half = ""
        if reply.v4_half:
            half = f" for 0.0.0.0, which whoever binds :: takes too; pybindctl grant {who.text} "
            half += f"0.0.0.0:{address.port}/{'udp' if address.udp else 'tcp'}"
        lines.append(f"{explain.what(address)} is still refused: {where}{why}{half}")
    if refused:
        lines.append("to see why: pybindctl explain SPEC --user USER; pybindctl lint")
    for line in lines:
        click.echo(f"pybindctl: {line}", err=True)


def _report(changes: Sequence[Change], nothing: str) -> None:
    for change in changes:
        for line in differences.summary(change):
            output.say(line)
    if not changes:
        output.say(nothing)


def _specs(rules: Sequence[Rule]) -> str:
    return " ".join(spec_text(rule) for rule in rules)


def _emit(
    command: str,
    who: Who,
    changes: list[Change],
    answers: Sequence[Answer],
    problem: Sequence[str],
) -> None:
    output.emit_json(
        command=command,
        who={"kind": who.kind, "id": who.ident, "name": who.name},
        changed=bool(changes),
        changes=differences.as_json(changes),
        verified=[
            {
                "address": explain.what(answer.address),
                "granted": answer.granted,
                "reason": _wire.REASON_TEXTS.get(answer.reply.reason),
                "file": f"{CONFIG_DIR}/{answer.reply.name}" if answer.reply.name else None,
                "line": answer.reply.line or None,
            }
            for answer in answers
        ],
        problem=" ".join(problem) or None,
    )
