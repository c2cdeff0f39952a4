# SPDX-License-Identifier: GPL-3.0-or-later
"""Which flag files decide before a rule, or another flag file, is looked at. Pure."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from .names import Flag, Rule, address_name
from .overlap import meets, subtract_all

_LAST = 99  # after every flag file: the rule files


def _rank(flag: Flag) -> int:
    """Return where a flag file stands among those for one address and port."""
    folder, _, name = flag.name.partition("/")
    if folder == "byport":
        return 0 if flag.rule.protocol else 1
    if name.startswith(address_name(flag.rule.addr_min) + ":", name.startswith("!")):
        return 4
    short = name.startswith(address_name(flag.rule.addr_min) + ",", name.startswith("!"))
    return (2 if flag.rule.protocol else 5) + (not short)


class Shadow(NamedTuple):
    """The flag files that decide some of a rule. whole: they leave nothing of it."""

    flags: tuple[Flag, ...]
    whole: bool


class FlagIndex:
    """Which flag files decide before a rule, or another flag file, is looked at."""

    ENOUGH = 24  # a rule for all ports may have thousands of flag files before it

    def __init__(self, flags: Iterable[Flag]) -> None:
        self._at: dict[int, list[tuple[int, Flag]]] = {}
        for flag in flags:
            self._at.setdefault(flag.rule.port_min, []).append((_rank(flag), flag))
        for entries in self._at.values():
            entries.sort(key=lambda entry: entry[0])
        self._ports = sorted(self._at)

    def shadow(self, rule: Rule, flag: Flag | None = None) -> Shadow:
        """Return what decides a rule, or `flag` whose rule it is, before: ENOUGH of it."""
        first = bisect_left(self._ports, rule.port_min)
        if first == len(self._ports) or self._ports[first] > rule.port_max:
            return _NOTHING
        limit = _LAST if flag is None else _rank(flag)
        found: list[Flag] = []
        rest = [rule]
        for port in itertools.takewhile(
            lambda port: port <= rule.port_max, itertools.islice(self._ports, first, None)
        ):
            for rank, earlier in self._at[port]:
                if rank < limit and meets(rest, earlier.rule):
                    found.append(earlier)
                    rest = subtract_all(rest, [earlier.rule])
            if len(found) >= self.ENOUGH or not rest:
                break
        return Shadow(tuple(found), not rest)


_NOTHING = Shadow((), False)
