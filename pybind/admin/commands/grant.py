# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl grant: grants ports to a user, a group or everyone, and proves it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from ... import diagnose
from ...permissions.changing import editing
from ...permissions.changing.writing import need_root
from ...permissions.errors import STATUS_NO, AdminError
from ...permissions.names import RESERVED_MAX, RESERVED_MIN
from ...permissions.rule import ANY, Rule
from ...permissions.spec import spec_text
from ...permissions.who import EVERYONE, GROUP, USER, Who, parse_who
from ...repairs import sudo
from .. import output
from ..asking import in_kernel
from ..asking.verification import verify
from ..changing.granting import (
    bound,
    carry_out,
    emit,
    parse_specs,
    report_changes,
    say_refused,
    subject,
)


@click.command("grant")
@output.who_and_specs(required=True)
def grant_command(who: str, specs: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Grant ports to a user, a @group or everyone.

    WHO is a user's name or number, @ and a group's, or everyone. SPEC is
    [ADDR:]PORT[/PROTO] as in pybind --port, a range of ports (8000-8010), or
    a prefix (192.0.2.0/24:443, [2001:db8::]/32:443). A SPEC without an address means
    every address. Without a protocol, a port is granted and revoked for TCP and UDP,
    and asked about as TCP (check, explain, pybind --port).

    If one SPEC cannot be granted, nothing is changed. Exit status 1: written, but the
    port cannot be bound, or the helper could not be asked.
    """
    need_root()
    whom, rules = parse_who(who), parse_specs("grant", who, specs)

    def confirm() -> None:
        if not yes:
            _confirm(whom, rules)

    changes = carry_out(editing.grant, whom, rules, confirm)
    answers, problem = verify(whom, rules)
    refused = [answer for answer in answers if not answer.granted]
    status = STATUS_NO if refused or problem else 0
    if as_json:
        emit("grant", whom, changes, answers, problem)
        return status
    if status:
        report_changes(changes)
        say_refused(whom, refused, problem)
        return status
    verb = "may now bind" if changes else "already may bind"
    output.say_prose(f"{subject(whom)} {verb} {bound(rules)} (proved)", indent="  ")
    replies = [answer.reply for answer in answers]
    use = _use(whom, rules[0], in_kernel.without_wrapper(replies, in_kernel.status()))
    if changes and use:
        output.say(use)
    for line in _open_to_all(rules):
        output.tell("note", line)
    return status


def _warnings(who: Who, rules: Sequence[Rule]) -> list[str]:
    lines = []
    if any(rule.port_min <= RESERVED_MAX and rule.port_max >= RESERVED_MIN for rule in rules):
        lines.append(
            "ports 512 to 1023: rsh, NFS and their like take a source port there as a proof of root"
        )
    on_one_address = [rule for rule in rules if rule.protocol != "tcp" and rule.family != ANY]
    if on_one_address:
        lines.append(
            "UDP: a granted address limits where packets are received, not the source of those sent"
        )
    both = [rule._replace(protocol="tcp") for rule in on_one_address if rule.protocol is None]
    if both:
        lines[-1] += f"; for TCP alone: {' '.join(map(spec_text, both))}"
    if who.kind == EVERYONE:
        lines.append("everyone: every user and every service of this host may take the port")
    return lines


def _confirm(who: Who, rules: Sequence[Rule]) -> None:
    warnings = _warnings(who, rules)
    if not warnings:
        return
    for line in warnings:
        output.tell("warning", line)
    if not sys.stdin.isatty():
        command = sudo(("pybindctl", "grant", "--yes", who.text, *map(spec_text, rules)))
        raise AdminError("nothing was changed: this needs a confirmation", f"to confirm: {command}")
    click.confirm("grant it?", abort=True, err=True)


def _open_to_all(rules: Sequence[Rule]) -> list[str]:
    """Return a note about ports that the kernel gives to everybody; or no note."""
    start = diagnose.first_unprivileged_port()
    specs = [spec_text(rule) for rule in rules if rule.port_min >= start]
    if not specs:
        return []
    return [
        f"the kernel lets everybody bind {', '.join(specs)} without a grant "
        f"(net.ipv4.ip_unprivileged_port_start is {start})"
    ]


def _use(who: Who, rule: Rule, unwrapped: str | None) -> str:
    """Return the line that says how to use the grant; "" if one --port cannot name it.

    unwrapped: where that needs no pybind, as of in_kernel.without_wrapper().
    """
    whom = {USER: f"as {who.text}", GROUP: "as a member", EVERYONE: "as any user"}[who.kind]
    if unwrapped == "":
        return f"to use it, {whom}: start PROGRAM as it is, because pybindd runs"
    if rule.port_min != rule.port_max or rule.addr_min != rule.addr_max:
        return ""
    port = spec_text(rule._replace(protocol=None if rule.protocol != "udp" else "udp"))
    command = f"pybind --port {port} -- PROGRAM"
    if unwrapped:
        return f"to use it, {whom}: in {unwrapped} start PROGRAM as it is, elsewhere: {command}"
    return f"to use it, {whom}: {command}"
