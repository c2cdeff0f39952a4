# SPDX-License-Identifier: GPL-3.0-or-later
"""What an importer reads: the grants of another program, as what is to be made here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...model import Address
from ...permissions.access import Access
from ...permissions.rule import Rule
from ...permissions.who import Identity, Who


class Left(NamedTuple):
    """Something that is not carried over. where: file and line; text: what stands there."""

    where: str
    text: str
    why: str


class Claim(NamedTuple):
    """What the other program may answer somebody with yes to."""

    who: Who
    rule: Rule


class OldAnswer(NamedTuple):
    """The answer there was. why_not: why the permission behind it is not carried over, or ""."""

    granted: bool
    why_not: str = ""


class Grant(NamedTuple):
    """One old permission, to be granted as pybindctl grant does it."""

    who: Who
    rule: Rule
    where: str


class Source(NamedTuple):
    """Grants of another program, as what is to be made here.

    title: where they come from.
    flags: name of a flag file -> who may execute it.
    owners: name of a flag file -> the user other than root whom it belongs to.
    files: name of a rule file -> its lines.
    grants: what is granted beside whole files.
    left: what is not carried over. notes: what is written differently.
    claims: what the proof asks about. decided: what flag files decide there.
    port_max: the last port that the other program is asked about.
    ask: what the other program answers a process of this identity.
    """

    title: str
    flags: dict[str, Access]
    owners: dict[str, Who]
    files: dict[str, list[bytes]]
    grants: list[Grant]
    left: list[Left]
    notes: list[Left]
    claims: list[Claim]
    decided: list[Rule]
    port_max: int
    ask: Callable[[Identity, list[Address]], list[OldAnswer]]

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all can be taken over."""
        return not (self.flags or self.files or self.grants)


def empty(
    title: str, port_max: int, ask: Callable[[Identity, list[Address]], list[OldAnswer]]
) -> Source:
    """Return a Source for a reader to fill."""
    return Source(title, {}, {}, {}, [], [], [], [], [], port_max, ask)
