# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl explain: shows which files decided the helper's answer, and how to change it."""

from __future__ import annotations

import os

import click

from ... import _wire, explain
from ...become import groups_of
from ...model import Reply, Step
from ...permissions.errors import STATUS_NO
from ...permissions.folders import path_of
from ...permissions.who import Identity, identity_of
from .. import output
from ..asking.decision import (
    Decision,
    as_object,
    decide,
    facts,
    parse_asked,
    port_text,
    repairs,
    why,
)


@click.command("explain")
@output.question
def explain_command(spec: str, user: str | None, as_json: bool) -> int:
    """Show whether a user may bind a port, and which file decides.

    It also shows the files that the helper asked, and the command that changes the
    answer. The port is written as for pybind --port. Without an address it means every
    local address: 0.0.0.0 decides, and :: (which needs both) is shown apart if its
    answer differs. Without a protocol it means TCP.

    Exit status: 0 granted, 1 refused.
    """
    who = identity_of(user)
    decisions = decide(parse_asked(spec, "explain"), who)
    if as_json:
        output.emit_json(**as_object(spec, who, decisions))
        return 0 if decisions[0].granted else STATUS_NO
    alike = len({_key(decision, who) for decision in decisions}) == 1
    for decision in decisions[:1] if alike else decisions:
        _print(decision, who, alike and len(decisions) > 1)
    for line in _stale_groups(who):
        output.say_prose(f"note: {line}")
    return 0 if decisions[0].granted else STATUS_NO


def _key(decision: Decision, who: Identity) -> tuple[object, ...]:
    return decision.granted, why(decision, who), decision.pybindd


def _print(decision: Decision, who: Identity, alike: bool) -> None:
    verdict = output.paint("REFUSED", output.BAD)
    if decision.granted:
        verdict = output.paint("GRANTED", output.GOOD)
    output.say(f"{who.subject}, {_asked(decision, alike)}: {verdict}")
    reply = decision.reply
    steps = reply.steps if reply else ()
    absent = [step for step in steps if step.result == _wire.STEP_ABSENT]
    for step in steps:
        if step.result != _wire.STEP_ABSENT and reply:
            output.say(f"  {_step_text(step, reply)}")
    decided = _wire.STEP_GRANTS if decision.granted else _wire.STEP_REFUSES
    if not any(step.result == decided for step in steps):
        output.say_prose(f"  {why(decision, who)}", indent="    ")
    if reply and not reply.steps:
        output.say("  no permission file was looked at: what refuses comes before them")
    if absent:
        names = " ".join(dict.fromkeys(step.name for step in absent))
        before = "before it, and" if decision.granted else "and"
        tail = " (and the same for ::)" if alike else ""
        output.say_prose(f"looked at {before} not there: {names}{tail}", indent="  ")
    if reply and reply.truncated:
        output.say("and more files than the helper's answer has room for")
    if decision.pybindd:
        output.say_prose(output.plain(decision.pybindd.text), indent="  ")
    for fact in facts(decision, who):
        output.say_prose(f"note: {fact}", indent="  ")
    for command in repairs(decision, who):
        output.say(f"{_purpose(decision)}: {command}")


def _purpose(decision: Decision) -> str:
    if decision.granted:
        return "to take it away"
    if decision.lacks_grant:
        return "to grant it"
    return output.paint("repair", output.GOOD)


def _asked(decision: Decision, alike: bool) -> str:
    """Return 80/tcp, every address (0.0.0.0 and ::)."""
    if alike:
        return f"{port_text(decision.address, alike=True)}, every address (0.0.0.0 and ::)"
    text = explain.address_text(decision.address)
    if not any(decision.address.addr) and len(decision.address.addr) == 16:
        text += " (with 0.0.0.0: whoever binds :: takes the IPv4 port too)"
    return text


def _step_text(step: Step, reply: Reply) -> str:
    """Return the result of one file, with the line that decided."""
    line = f" line {step.line}" if step.line else ""
    where = path_of(step.name) + line
    if step.result == _wire.STEP_GRANTS:
        text = _line_of(step) if step.line else "executable for this user"
        half = " (for 0.0.0.0)" if step.v4_half else ""
        return f"{where}{half}: {output.paint(text, output.GOOD)}"
    if step.result != _wire.STEP_REFUSES:
        return f"{where}: {_wire.STEP_TEXTS.get(step.result, f'result {step.result}')}"
    reason = _wire.REASON_TEXTS.get(reply.reason, f"reason {reply.reason}")
    if reply.fault:
        reason += ": " + _wire.FAULT_TEXTS.get(reply.fault, f"fault {reply.fault}")
    return f"{where}: refuses: {output.paint(reason, output.BAD)}"


def _line_of(step: Step) -> str:
    """Return the rule that grants; "grants" if the caller may not read it."""
    try:
        with open(path_of(step.name), "rb") as file:
            raw = file.read(1 << 20).split(b"\n")[step.line - 1]
    except (OSError, IndexError):
        return "grants"
    return output.plain(raw.decode("utf-8", "backslashreplace").strip())


def _stale_groups(who: Identity) -> list[str]:
    """Return a note about groups that the caller's account has but their process lacks."""
    if who.uid != os.getuid() or who.uid == 0 or not who.name:
        return []
    missing = sorted(set(groups_of(who.name, who.gid)) - set(who.groups) - {who.gid})
    if not missing:
        return []
    gids = ", ".join(map(str, missing))
    return [
        f"your account is in group {gids}, but this process is not, and its groups are what "
        "counts: log in again"
    ]
