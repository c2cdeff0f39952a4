# SPDX-License-Identifier: GPL-3.0-or-later
"""The common parts of the commands that change grants: SPECs, writing, the report.

permissions/changing/editing.py plans the changes, and this module writes them. A command
then waits until a running pybindd has put them in force, or says that pybindd did not.
Afterwards the helper is asked whether the ports can be bound.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from ... import _wire, explain, pybindd
from ...binding import ANY4, ANY6
from ...errors import PybindError
from ...model import Address
from ...paths import CONFIG_DIR
from ...permissions.changing import differences
from ...permissions.changing.state import State
from ...permissions.changing.writing import Change, commit, left_over, locked
from ...permissions.errors import AdminError, Failed
from ...permissions.rule import ANY, Rule, addresses_text
from ...permissions.spec import parse_spec
from ...permissions.who import GROUP, Who, parse_who
from ...repairs import is_word_for_user, sudo
from .. import output
from ..asking import verification
from ..asking.verification import Answer

Plan = Callable[[State, Who, Rule], None]
_LEASE_S = 5.0  # when pybindd does not renew its lease, the kernel grants nothing after this
_RESTART = "repair: sudo systemctl restart pybindd"


def parse_specs(command: str, who: str, specs: Sequence[str]) -> list[Rule]:
    """Return the Rules of typed SPECs. command, who: for messages. Raises AdminError, UsageError."""
    for before, spec in zip(("", *specs), specs):
        if spec in ("tcp", "udp") and before:
            raise AdminError(f"bad port {spec!r}: write {before}/{spec}, as one word")
        if spec == "all":
            raise AdminError("bad port 'all': write the ports, or 1-65535 for every port")
        if "," in spec:
            raise AdminError(f"bad port {spec!r}: write {spec.replace(',', ' ')}, as two words")
    try:
        return [parse_spec(spec) for spec in specs]
    except PybindError:
        if who.isdecimal() and len(specs) == 1 and _is_account(specs[0]):
            meant = sudo(("pybindctl", command, specs[0], who))
            raise AdminError(
                f"bad port {specs[0]!r}: the user comes before the port", f"did you mean: {meant}"
            ) from None
        raise


def _is_account(name: str) -> bool:
    with contextlib.suppress(AdminError):
        parse_who(name)
        return is_word_for_user(name)
    return False


def carry_out(
    plan: Plan, who: Who, rules: Sequence[Rule], confirm: Callable[[], None] = lambda: None
) -> list[Change]:
    """Plan, call confirm(), plan again under the lock, and write; return the changes."""
    needed = _planned(plan, who, rules)
    if not needed and not left_over():
        return []
    if needed:
        confirm()
    with locked():
        changes = _planned(plan, who, rules)
        commit_and_wait(changes)
    return changes


def _planned(plan: Plan, who: Who, rules: Sequence[Rule]) -> list[Change]:
    state = State()
    for rule in rules:
        plan(state, who, rule)
    return state.changes()


def by_file(answers: Sequence[Answer]) -> dict[str, str]:
    """Return file and line -> the addresses that it grants, as text."""
    found: dict[str, list[Address]] = {}
    for address, reply in answers:
        line = f" line {reply.line}" if reply.line else ""
        found.setdefault(f"{CONFIG_DIR}/{reply.name}{line}", []).append(address)
    texts = {where: list(dict.fromkeys(_short(addresses))) for where, addresses in found.items()}
    return {
        where: ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")
        for where, words in texts.items()
    }


def _short(addresses: Sequence[Address]) -> Iterator[str]:
    """Yield addresses as text: 80/tcp where both 0.0.0.0 and :: are among them."""
    v4, v6 = ({(at.port, at.udp) for at in addresses if at.addr == every} for every in (ANY4, ANY6))
    for address in addresses:
        both = not any(address.addr) and (address.port, address.udp) in v4 & v6
        yield explain.spec(address) if both else explain.address_text(address)


def subject(who: Who) -> str:
    """Return `who` as the subject of a sentence."""
    return f"the group {who.text[1:]}" if who.kind == GROUP else who.text


def bound(rules: Sequence[Rule]) -> str:
    """Return rules in words: 80/tcp and 80/udp on every address."""
    texts = []
    for rule in rules:
        ports = f"{rule.port_min}"
        if rule.port_max != rule.port_min:
            ports += f"-{rule.port_max}"
        protocols = [rule.protocol] if rule.protocol else ["tcp", "udp"]
        where = "every address" if rule.family == ANY else addresses_text(rule)
        texts.append(" and ".join(f"{ports}/{protocol}" for protocol in protocols) + f" on {where}")
    return ", ".join(texts)


def report_changes(changes: Sequence[Change]) -> None:
    """Print the changes that were written."""
    for change in changes:
        output.say_change(differences.summary(change))


def say_refused(who: Who, refused: Sequence[Answer], problem: Sequence[str]) -> None:
    """Print the answers that still refuse, with repairs, or why the helper was not asked."""
    for line in problem:
        word = "repair" if line.startswith("repair: ") else "error"
        output.tell(word, line)
    if not refused or problem:
        return
    condition = verification.concerning(verification.everything(), [who])
    for address, reply in refused[:1] if condition.refusing else refused[:4]:
        why = _wire.REASON_TEXTS.get(reply.reason, f"reason {reply.reason}")
        where = f"{CONFIG_DIR}/{reply.name}: " if reply.name else ""
        output.tell("error", f"{explain.address_text(address)} is still refused: {where}{why}")
        if reply.v4_half:
            protocol = "udp" if address.udp else "tcp"
            spec = f"0.0.0.0:{address.port}/{protocol}"
            output.tell("note", "it is about 0.0.0.0: whoever binds :: takes the IPv4 port too")
            output.tell("repair", sudo(("pybindctl", "grant", who.text, spec)))
    verification.tell(condition)


def emit(
    command: str,
    who: Who,
    changes: list[Change],
    answers: Sequence[Answer],
    problem: Sequence[str],
) -> None:
    """Print the answer of grant and revoke for --json."""
    output.emit_json(
        command=command,
        who={"kind": who.kind, "id": who.ident, "name": who.name},
        changed=bool(changes),
        changes=differences.as_json(changes),
        verified=[
            {
                "address": explain.address_text(answer.address),
                "granted": answer.granted,
                "reason": _wire.REASON_TEXTS.get(answer.reply.reason),
                "file": f"{CONFIG_DIR}/{answer.reply.name}" if answer.reply.name else None,
                "line": answer.reply.line or None,
            }
            for answer in answers
        ],
        problem=" ".join(problem) or None,
    )


def commit_and_wait(changes: list[Change]) -> None:
    """Write the changes; if pybindd runs, wait until they are in force.

    Raises Failed, like writing.commit(). Also if pybindd does not answer: the files are
    written then, but the kernel may judge by the old ones until the lease ends.
    """
    commit(changes)
    deadline = time.monotonic() + _LEASE_S
    while True:
        try:
            said = pybindd.sync()
        except pybindd.NotAnswering as error:
            raise Failed(
                "the files are written, but pybindd does not answer, so the kernel may judge by "
                f"the old ones for {_LEASE_S:.0f} seconds more ({error})",
                _RESTART,
            ) from None
        if said is None or said["in_force"]:
            return
        if said["why_not"] != pybindd.BUSY or time.monotonic() >= deadline:
            break
    output.tell(
        "note", f"pybindd grants nothing now ({said['why_not']}); pybind serves by the helper"
    )
