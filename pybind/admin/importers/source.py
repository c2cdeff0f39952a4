# SPDX-License-Identifier: GPL-3.0-or-later
"""Source: the grants of another program, in the form in which they are to be made here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...model import Address
from ...permissions.access import Access
from ...permissions.rule import Rule
from ...permissions.who import Identity, Who


class Left(NamedTuple):
    """A piece of the other program's configuration that is left out, or changed.

    where: file and line. text: the piece itself. why: the reason.
    """

    where: str
    text: str
    why: str


class Claim(NamedTuple):
    """Addresses and ports that the other program may grant to `who`: the proof asks about them."""

    who: Who
    rule: Rule


class OldAnswer(NamedTuple):
    """The other program's answer. why_not: why its permission is not carried over, or ""."""

    granted: bool
    why_not: str = ""


class Grant(NamedTuple):
    """One old permission, to be granted here as by `pybindctl grant`. where: file and line."""

    who: Who
    rule: Rule
    where: str


class Source(NamedTuple):
    """The grants of another program, in the form in which they are to be made here.

    title: the file or folder that they come from.
    flags: name of a flag file -> its access.
    owners: name of a flag file -> its owner, if that is not root.
    files: name of a rule file -> its lines.
    grants: permissions that do not come as whole files.
    left: pieces that are left out. notes: pieces that are written differently.
    claims: permissions that the proof asks about.
    decided: the rules of the other program's flag files.
    port_max: the highest port that the other program serves.
    ask: returns the other program's answers to a process of an identity.
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
