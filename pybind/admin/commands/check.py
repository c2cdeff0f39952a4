# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl check: asks the helper whether a user may bind a port."""

from __future__ import annotations

import click

from ...permissions.errors import STATUS_NO
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


@click.command("check")
@output.question
def check_command(spec: str, user: str | None, as_json: bool) -> int:
    """Tell whether a user may bind a port.

    The port is written as for pybind --port. Without an address it means every local
    address: 0.0.0.0 decides, and :: (which needs both) is shown if its answer differs.
    Without a protocol it means TCP. Nothing is bound, so a busy port does not show.

    The helper decides. If pybindd runs, one more line says whether the kernel itself
    answers the same.

    Exit status: 0 granted, 1 refused.
    """
    who = identity_of(user)
    decisions = decide(parse_asked(spec, "check"), who)
    if as_json:
        output.emit_json(**as_object(spec, who, decisions))
    else:
        for line in _lines(decisions, who):
            output.say_prose(line, indent="  ")
        tell_repair(decisions[0], who)
    return 0 if decisions[0].granted else STATUS_NO


def _lines(decisions: list[Decision], who: Identity) -> list[str]:
    """Return one line, or one for each address where the answers differ; pybindd's behind each."""
    answers = [(decision.granted, why(decision, who), decision.pybindd) for decision in decisions]
    alike = all(answer == answers[0] for answer in answers)
    lines = []
    for decision in decisions[:1] if alike else decisions:
        granted, reason = decision.granted, why(decision, who)
        word = (
            output.paint("granted", output.GOOD) if granted else output.paint("refused", output.BAD)
        )
        joined = "" if reason.startswith("by ") else ": "
        tail = f"{joined or ' '}{reason}"
        where = port_text(decision.address, alike=alike)
        lines.append(f"{where}: {word} to {who.subject}{tail}")
        if decision.pybindd:
            lines.append(output.plain(decision.pybindd.text))
    return lines


def tell_repair(decision: Decision, who: Identity) -> None:
    """Print the repairs if a file or the helper is broken; nothing if only a grant is missing."""
    if decision.granted or decision.lacks_grant:
        return
    for fact in facts(decision, who):
        output.tell("note", fact)
    for command in repairs(decision, who):
        output.tell("repair", command)
