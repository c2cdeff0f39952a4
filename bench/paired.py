# SPDX-License-Identifier: GPL-3.0-or-later
"""Paired runs: the ways take turns, and one way is measured against itself.

A change of the machine's load hits all ways of a round. So a ratio is made within a
round, and the median of the rounds' ratios is reported.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Callable, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
AGAIN = "the reference again"


def paired(ways: Mapping[str, Callable[[], T]], rounds: int, reference: str) -> dict[str, list[T]]:
    """Run every way once in each round, every other round backwards (A B B A).

    The way `reference` runs twice in a round, the second time as AGAIN, unless `ways` has
    its own AGAIN. Returns {way: [result of each round]}.
    """
    order = dict(ways)
    order.setdefault(AGAIN, order[reference])
    found: dict[str, list[T]] = {name: [] for name in order}
    for number in range(rounds):
        for name in list(order)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(order[name]())
    return found


class Series(NamedTuple):
    """One quantity, measured for several ways in the same rounds."""

    title: str
    unit: str  # of the values; "s", "1/s" or "B"
    reference: str  # the way to which ratios are made
    values: dict[str, list[float]]  # way -> the value of each round

    def median(self, way: str) -> float:
        """Return the median over the rounds."""
        return statistics.median(self.values[way])

    def ratio(self, way: str, to: str = "") -> float:
        """Return the median of the rounds' ratios of `way` and `to`, or the reference."""
        return statistics.median(self._ratios(way, to or self.reference))

    def noise(self) -> float | None:
        """Return the factor within which 8 of 10 ratios of the reference to itself lie.

        At least 1; None if the reference was not measured twice, or only in one round.
        """
        factors = self._factors()
        if len(factors) < 2:
            return None
        return statistics.quantiles(factors, n=10, method="inclusive")[7]

    def spread(self) -> float | None:
        """Return the largest ratio of the reference to itself; None if it was measured once."""
        return max(self._factors(), default=None)

    def _factors(self) -> list[float]:
        if AGAIN not in self.values:
            return []
        return [max(ratio, 1 / ratio) for ratio in self._ratios(AGAIN, self.reference)]

    def _ratios(self, way: str, to: str) -> list[float]:
        return [a / b for a, b in zip(self.values[way], self.values[to])]
