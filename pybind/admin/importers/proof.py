# SPDX-License-Identifier: GPL-3.0-or-later
"""After an import: asks whether each old permission gets the same answer here.

What is granted here is asked of the helper, as the user. A difference is
explained by one of the deliberate differences from authbind (pybind(5)), by
what the plan said is not carried over, or by a file that was here before.
"""

from __future__ import annotations

from typing import NamedTuple

from ... import _wire, explain
from ...model import MAPPED, Address, Reply
from ...paths import CONFIG_DIR
from ...permissions.who import Who, identity_for
from .. import ask
from .lists import Old, Question, Source

_GRANTED = (_wire.REASON_GRANTED, _wire.REASON_NO_CAPABILITY)


class Difference(NamedTuple):
    """One question with another answer than before. why: its explanation, "" for none."""

    who: Who
    address: Address
    granted: bool
    why: str
    by: str

    @property
    def text(self) -> str:
        """Return it as one line."""
        verb = "is granted now, was not before" if self.granted else "was granted, is refused now"
        head = f"{explain.what(self.address)} for {self.who.described} {verb} ({self.by})"
        return f"{head}: {self.why}" if self.why else head


def prove(source: Source, made: set[str]) -> tuple[int, list[Difference]]:
    """Ask all questions of both; returns how many there were, and the differences.

    made: the files that the import wrote. Raises HelperUnusable, AdminError.
    """
    questions = list(dict.fromkeys(source.questions))
    found = []
    for question, old, reply in zip(questions, source.ask(questions), _replies(questions)):
        granted = reply.reason in _GRANTED
        if granted != old.granted:
            why = _explain(question.address, old, reply, made)
            by = _wire.REASON_TEXTS.get(reply.reason, f"reason {reply.reason}")
            if reply.name:
                line = f" line {reply.line}" if reply.line else ""
                by = f"{CONFIG_DIR}/{reply.name}{line}: {by}"
            found.append(Difference(*question, granted, why, by))
    return len(questions), found


def _replies(questions: list[Question]) -> list[Reply]:
    by_who: dict[Who, list[Address]] = {}
    for who, address in questions:
        by_who.setdefault(who, []).append(address)
    answers = {
        (who, address): reply
        for who, addresses in by_who.items()
        for address, reply in zip(addresses, ask.ask(identity_for(who), addresses))
    }
    return [answers[question] for question in questions]


def _explain(address: Address, old: Old, reply: Reply, made: set[str]) -> str:
    granted = reply.reason in _GRANTED
    if address.addr.startswith(MAPPED):
        kind = "mapped-granted" if granted else "mapped-refused"
        return f"{kind}: a mapped address is judged as the IPv4 address inside it"
    if not granted and reply.v4_half:
        return "wildcard-needs-both: :: is refused unless 0.0.0.0 is granted too"
    if not granted and old.why_not:
        return old.why_not
    if granted and reply.name and reply.name not in made:
        return "by a file that the import did not make"
    return ""
