# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl check and explain: what the helper answers, and how it came to that."""

from __future__ import annotations

import os
import shlex
import socket
from typing import Any, NamedTuple

import click

from ... import _wire, binding, diagnose, explain, ports
from ...model import Address, Listed, Reply
from ...paths import CONFIG_DIR
from ...permissions.errors import STATUS_NO
from ...permissions.who import Identity, identity_of
from .. import ask, output


class Decision(NamedTuple):
    """What became of one address. reply: None where the kernel needs no grant for it."""

    address: Address
    required: bool
    reply: Reply | None
    kernel: str  # why the kernel needs no grant, or ""

    @property
    def granted(self) -> bool:
        """Tell whether the user may bind it."""
        return self.reply is None or self.reply.reason == _wire.REASON_GRANTED


def decide(listed: Listed, who: Identity) -> list[Decision]:
    """Ask the kernel's settings, then the helper; the first decision is the required one."""
    addresses = binding.addresses(listed)
    kernel = _kernel_allows(listed.port, who)
    replies: list[Reply] | list[None] = [None] * len(addresses)
    if not kernel:
        replies = ask.ask(who, addresses)
    return [
        Decision(address, index == 0, reply, kernel)
        for index, (address, reply) in enumerate(zip(addresses, replies))
    ]


def _kernel_allows(port: int, who: Identity) -> str:
    first = diagnose.first_unprivileged_port()
    if port >= first:
        return f"the kernel allows it without a grant: ports from {first} on are not privileged"
    if who.uid == os.getuid() and diagnose.binds_alone():
        return (
            "the kernel allows it without a grant: this caller has CAP_NET_BIND_SERVICE "
            "(about another user: --user USER)"
        )
    return ""


def _question(function: Any) -> Any:
    """Add what both questions take."""
    function = output.json_option(function)
    function = click.option(
        "--user", metavar="USER", help="Ask about this account or uid (needs root); else yourself."
    )(function)
    return click.argument("spec", metavar="[ADDR:]PORT[/PROTO]")(function)


@click.command("check")
@_question
def check_command(spec: str, user: str | None, as_json: bool) -> int:
    """Tell whether a user may bind a port: exit status 0 granted, 1 refused.

    The port is written as for pybind --port. Without an address it means every
    local address: 0.0.0.0 decides, and :: (which needs both) is shown too.
    Without a protocol it means TCP. Nothing is bound; a busy port is not seen.
    """
    who = identity_of(user)
    decisions = decide(ports.parse_listed(spec), who)
    if as_json:
        output.emit_json(**_as_object(spec, who, decisions))
    else:
        for decision in decisions:
            output.say(_summary(decision, who))
    return 0 if decisions[0].granted else STATUS_NO


@click.command("explain")
@_question
def explain_command(spec: str, user: str | None, as_json: bool) -> int:
    """Show every file that was looked at, what was found, and what would change the answer.

    The port is written as for pybind --port. Without an address it means every
    local address: 0.0.0.0 decides, and :: (which needs both) is shown too.
    Without a protocol it means TCP. Exit status: 0 granted, 1 refused.
    """
    who = identity_of(user)
    decisions = decide(ports.parse_listed(spec), who)
    if as_json:
        output.emit_json(**_as_object(spec, who, decisions))
    else:
        for index, decision in enumerate(decisions):
            if index:
                output.say("")
            _print_explanation(decision, who)
        for line in _stale_groups(who):
            output.say(f"note: {line}")
    return 0 if decisions[0].granted else STATUS_NO


def _summary(decision: Decision, who: Identity) -> str:
    what, reply = explain.what(decision.address), decision.reply
    if reply is None:
        return f"{what}: {output.paint('granted', output.GOOD)} to {who}: {decision.kernel}"
    if decision.granted:
        by = explain.granted_by(reply)
        return f"{what}: {output.paint('granted', output.GOOD)} to {who} by {by}"
    reason = _lines(decision, who)[0].partition(": ")[2]
    return f"{what}: {output.paint('refused', output.BAD)} to {who}: {reason}"


def _print_explanation(decision: Decision, who: Identity) -> None:
    output.say(f"{explain.what(decision.address)} for {who}")
    reply, in_half = decision.reply, False
    if reply and not reply.steps:
        output.say("  no permission file was looked at: what refuses comes before them")
    for step in reply.steps if reply else ():
        if step.v4_half and not in_half:
            in_half = True
            port = f"0.0.0.0:{decision.address.port}"
            output.say(f"  and {port}, for who binds :: takes the IPv4 port too:")
        found = _found(step, reply) if reply else ""
        output.say(f"  {CONFIG_DIR}/{step.name}: {found}")
    if reply and reply.truncated:
        output.say("  ... and more files than the helper's answer has room for")
    output.say(_summary(decision, who))
    for line in advice(decision, who):
        output.say(f"  {line}")


def _found(step: Any, reply: Reply) -> str:
    text = _wire.STEP_TEXTS.get(step.result, f"result {step.result}")
    line = f" (line {step.line})" if step.line else ""
    if step.result == _wire.STEP_GRANTS:
        return output.paint(text + line, output.GOOD)
    if step.result != _wire.STEP_REFUSES:
        return text
    why = _wire.REASON_TEXTS.get(reply.reason, f"reason {reply.reason}")
    if reply.fault:
        why += ": " + _wire.FAULT_TEXTS.get(reply.fault, f"fault {reply.fault}")
    return output.paint(f"{text}{line}: {why}", output.BAD)


def _lines(decision: Decision, who: Identity) -> list[str]:
    """Return what pybind itself would say about a refusal to this user."""
    reply = decision.reply
    if reply is None or decision.granted:
        return []
    verdict = binding.Verdict(decision.address, reply.error, reply)
    return explain.refusal(verdict, uid=who.uid)


def advice(decision: Decision, who: Identity) -> list[str]:
    """Return the lines after the verdict: facts about the file, and what to type."""
    reply = decision.reply
    if reply is None:
        return []
    if decision.granted:
        return _to_take_away(reply, who)
    lines = _lines(decision, who)[1:]
    if reply.reason == _wire.REASON_NO_RULE and explain.commands(lines):
        by_hand = explain.hand_command(decision.address, uid=who.uid)
        lines.append("or, without pybindctl: sudo " + by_hand)
    return lines


def _to_take_away(reply: Reply, who: Identity) -> list[str]:
    path = shlex.quote(f"{CONFIG_DIR}/{reply.name}")
    if reply.line:
        return [f"to take line {reply.line} away: sudo sed -i '{reply.line}d' {path}"]
    if os.stat(f"{CONFIG_DIR}/{reply.name}").st_uid == who.uid:
        command = f"chown root {path} && setfacl -m u:{who.uid}:-,m::rx {path}"
        return [f"to take it away: sudo sh -c '{command}'"]
    return [f"to take it away from {who}: sudo setfacl -m u:{who.uid}:-,m::rx {path}"]


def _stale_groups(who: Identity) -> list[str]:
    """Return a note where the caller's account has groups that his process has not."""
    if who.uid != os.getuid() or who.uid == 0 or not who.name:
        return []
    now = set(os.getgrouplist(who.name, who.gid))
    missing = sorted(now - set(who.groups) - {who.gid})
    if not missing:
        return []
    gids = ", ".join(map(str, missing))
    return [
        f"your account is in group {gids}, but this process is not, and its groups are what "
        "counts: log in again"
    ]


def _as_object(spec: str, who: Identity, decisions: list[Decision]) -> dict[str, object]:
    return {
        "spec": spec,
        "user": {"uid": who.uid, "name": who.name, "gid": who.gid, "groups": list(who.groups)},
        "granted": decisions[0].granted,
        "addresses": [_address_object(decision, who) for decision in decisions],
    }


def _address_object(decision: Decision, who: Identity) -> dict[str, object]:
    address, reply = decision.address, decision.reply
    lines = advice(decision, who)
    return {
        "address": socket.inet_ntop(address.family, address.addr),
        "port": address.port,
        "protocol": "udp" if address.udp else "tcp",
        "required": decision.required,
        "granted": decision.granted,
        "by": "kernel" if reply is None else "rules",
        "file": f"{CONFIG_DIR}/{reply.name}" if reply and reply.name else None,
        "line": reply.line if reply and reply.line else None,
        "reason": _wire.REASON_TEXTS.get(reply.reason) if reply else decision.kernel,
        "for_ipv4_half": bool(reply and reply.v4_half),
        "explanation": [*_lines(decision, who)[:1], *lines],
        "commands": explain.commands(lines),
        "steps": _steps(reply) if reply else [],
    }


def _steps(reply: Reply) -> list[dict[str, object]]:
    return [
        {
            "file": f"{CONFIG_DIR}/{step.name}",
            "result": _wire.STEP_TEXTS.get(step.result, str(step.result)),
            "line": step.line or None,
            "for_ipv4_half": step.v4_half,
        }
        for step in reply.steps
    ]
