# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of a rule line counts, and which flag file decides first. Pure.

The order is the helper's (helpers/helper/rules.c), which pybind(5) describes. Nothing
is granted or refused here.
"""

from __future__ import annotations

import socket
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..model import MAPPED
from .names import RESERVED_MAX, RESERVED_MIN, Flag, is_reserved, pieces
from .overlap import meets, subtract_all
from .rule import Rule, address_name

_IPV6 = int(socket.AF_INET6)
_MAPPED_RULE = Rule(_IPV6, MAPPED + bytes(4), MAPPED + b"\xff" * 4, 0, 65535, None)
_LAST = 99  # the rank of the rule files: after every flag file


def without_mapped(rule: Rule) -> list[Rule]:
    """Return the rule without v4-mapped addresses at its ends; [] if all are mapped.

    The helper judges ::ffff:192.0.2.1 as 192.0.2.1, so an IPv6 rule never covers a mapped
    address. A rule with mapped addresses only in its middle, such as ::/0, stays whole.
    """
    if rule.family != _IPV6 or MAPPED not in (rule.addr_min[:12], rule.addr_max[:12]):
        return [rule]
    return subtract_all([rule], [_MAPPED_RULE])


def in_force(rule: Rule, reserved: bool) -> list[Rule]:
    """Return the parts of a rule that can count in a file. reserved: its name has the '!'."""
    low, high = rule.port_min, rule.port_max
    whole = not reserved and (low > RESERVED_MAX or 0 < low <= high < RESERVED_MIN)
    return [
        piece
        for part in without_mapped(rule)
        for piece in ([part] if whole else pieces(part))
        if whole or is_reserved(piece.port_min) == reserved
    ]


def rank(flag: Flag) -> int:
    """Return the place of a flag file among those for one address and port; lowest decides."""
    folder, _, name = flag.name.partition("/")
    if folder == "byport":
        return 0 if flag.rule.protocol else 1
    if name.startswith(address_name(flag.rule.addr_min) + ":", name.startswith("!")):
        return 4
    short = name.startswith(address_name(flag.rule.addr_min) + ",", name.startswith("!"))
    return (2 if flag.rule.protocol else 5) + (not short)


class Shadow(NamedTuple):
    """The flag files that decide a part of a rule. whole: they decide all of it."""

    flags: tuple[Flag, ...]
    whole: bool


class FlagIndex:
    """The flag files by port: finds those that decide before a rule or another flag file."""

    ENOUGH = 24  # shadow() stops here: a rule for all ports may have thousands before it

    def __init__(self, flags: Iterable[Flag]) -> None:
        self._at: dict[int, list[tuple[int, Flag]]] = {}
        for flag in flags:
            self._at.setdefault(flag.rule.port_min, []).append((rank(flag), flag))
        for entries in self._at.values():
            entries.sort(key=lambda entry: entry[0])
        self._ports = sorted(self._at)

    def _deciding(self, rule: Rule, before: Flag | None, left: list[Rule]) -> Iterator[Flag]:
        """Yield the flag files that decide a part of a rule; fill `left` with the other parts.

        before: only the flag files that decide before this one. None: all.
        """
        limit = _LAST if before is None else rank(before)
        rest = [rule]
        for at in range(bisect_left(self._ports, rule.port_min), len(self._ports)):
            port = self._ports[at]
            if port > rule.port_max or not rest:
                break
            left += [part for part in rest if part.port_max < port]
            rest = [part for part in rest if part.port_max >= port]
            for earlier_rank, earlier in self._at[port]:
                if earlier_rank < limit and meets(rest, earlier.rule):
                    rest = subtract_all(rest, [earlier.rule])
                    yield earlier
        left += rest

    def __iter__(self) -> Iterator[Flag]:
        """Yield the flag files by port, and within a port in the order of deciding."""
        return (flag for port in self._ports for _, flag in self._at[port])

    def _meets_none(self, rule: Rule) -> bool:
        first = bisect_left(self._ports, rule.port_min)
        return first == len(self._ports) or self._ports[first] > rule.port_max

    def shadow(self, rule: Rule, flag: Flag | None = None) -> Shadow:
        """Return the flag files that decide before a rule; about ENOUGH of them at most.

        flag: the flag file that the rule is of; None for a rule in a rule file.
        """
        if self._meets_none(rule):
            return _NOTHING
        flags: list[Flag] = []
        left: list[Rule] = []
        for earlier in self._deciding(rule, flag, left):
            if len(flags) >= self.ENOUGH and earlier.rule.port_min != flags[-1].rule.port_min:
                return Shadow(tuple(flags), whole=False)
            flags.append(earlier)
        return Shadow(tuple(flags), not left)

    def left(self, rule: Rule, flag: Flag | None = None) -> list[Rule]:
        """Return the parts of a rule that no earlier flag file decides. flag: as in shadow()."""
        if self._meets_none(rule):
            return [rule]
        left: list[Rule] = []
        for _ in self._deciding(rule, flag, left):
            pass
        return left


_NOTHING = Shadow((), whole=False)
