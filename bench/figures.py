# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a part: runs that take turns, ratios, promises; as values, JSON and text.

A change of the machine's load hits all ways of a round. So a ratio is made within a
round, and the median of the rounds' ratios is reported. One way is measured against
itself, which shows the noise.
"""

from __future__ import annotations

import json
import re
import statistics
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, TypeVar

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

T = TypeVar("T")
AGAIN = "the reference again"
_DIGITS = 5  # significant ones, in the files
_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    "1/s": ((1.0, "/s"),),
    "B": ((2**20, "MiB"), (2**10, "KiB")),
}


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


class Promise(NamedTuple):
    """A number that must lie within limits; None: it could not be measured, which is no proof."""

    text: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def kept(self) -> bool:
        """Tell whether the value is known and within the limits."""
        return (
            self.value is not None
            and (self.at_least is None or self.value >= self.at_least)
            and (self.at_most is None or self.value <= self.at_most)
        )

    @property
    def limits(self) -> str:
        """Return the limits in words."""
        words = [
            f"{word} {limit:.4g}"
            for word, limit in (("at least", self.at_least), ("at most", self.at_most))
            if limit is not None
        ]
        return ", ".join(words)


class Outcome(NamedTuple):
    """The figures of one part."""

    series: list[Series]
    promises: list[Promise]
    notes: list[str]

    def find(self, title: str) -> Series:
        """Return the series of that title."""
        return next(series for series in self.series if series.title == title)


def write(path: pathlib.Path, part: str, outcome: Outcome, machine: dict[str, Any]) -> None:
    """Put the outcome of a part, and its machine, into a file; other parts stay as they are.

    The file is JSON, {part: {machine, series, promises, notes}}, with the parts by name.
    """
    series = [
        {**s._asdict(), "values": {w: [_short(v) for v in vs] for w, vs in s.values.items()}}
        for s in outcome.series
    ]
    promises = [
        {**p._asdict(), "value": None if p.value is None else _short(p.value), "kept": p.kept}
        for p in outcome.promises
    ]
    found = {"machine": machine, "series": series, "promises": promises, "notes": outcome.notes}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(sorted({**_load(path), part: found}.items())), indent=1)
    # A list of numbers is one line: a new run changes few lines.
    text = re.sub(r"\[[\d\s.,e+-]+\]", lambda match: " ".join(match[0].split()), text)
    path.write_text(text + "\n")


def read(path: pathlib.Path) -> dict[str, tuple[Outcome, dict[str, Any]]]:
    """Return what write() put into a file: the outcome and the machine of each part."""
    parts = {}
    for part, found in _load(path).items():
        promises = [
            Promise(**{name: value for name, value in promise.items() if name != "kept"})
            for promise in found["promises"]
        ]
        series = [Series(**series) for series in found["series"]]
        parts[part] = Outcome(series, promises, found["notes"]), found["machine"]
    return parts


def _load(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def quantity(value: float, unit: str) -> str:
    """Return a value with three digits, in the unit for its size."""
    factor, name = next((scale for scale in _SCALES[unit] if value >= scale[0]), _SCALES[unit][-1])
    number = value / factor
    return f"{number:,.0f} {name}" if number >= 1000 else f"{number:.3g} {name}"


def machine(facts: dict[str, Any]) -> str:
    """Return the facts about the machine in lines."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    virtual = ", virtual" if facts["virtual"] else ""
    load = " ".join(map(str, facts["load_before"]))
    return (
        f"{facts['date']}  {facts['system']}, {facts['kernel']}\n"
        f"{facts['cpus']} CPUs ({facts['cpu']}{virtual}), {facts['memory_gib']} GiB, load {load}\n"
        f"{versions}"
    )


def table(outcome: Outcome) -> str:
    """Return the tables of one part and its notes."""
    blocks = [_series(series) for series in outcome.series]
    return "\n\n".join([*blocks, *outcome.notes])


def _series(series: Series) -> str:
    width = max(len(way) for way in (*series.values, series.title))
    lines = [f"{series.title:<{width}}  {'median':>10}  {'range over rounds':>24}  {'ratio':>9}"]
    for way, values in series.values.items():
        middle, low, high = (
            quantity(value, series.unit) for value in (series.median(way), min(values), max(values))
        )
        ratio = f"{series.ratio(way):.3g}"
        lines.append(f"{way:<{width}}  {middle:>10}  {f'{low} to {high}':>24}  {ratio:>9}")
    noise = series.noise()
    if noise:
        lines.append(f"noise: {series.reference} against itself, 8 of 10 within {noise - 1:.1%}")
    return "\n".join(lines)


def page(parts: Mapping[str, tuple[Outcome, dict[str, Any]]]) -> str:
    """Return RESULTS/README.md: every promise, and every part with its machine."""
    kept = promises([promise for outcome, _ in parts.values() for promise in outcome.promises])
    blocks = [
        "# What `make bench` found\n\nWritten by it, beside the same figures as JSON.\n",
        f"## Promises\n\n```\n{kept}\n```\n",
    ]
    for part, (outcome, facts) in parts.items():
        blocks.append(f"## {part}\n\n```\n{machine(facts)}\n\n{table(outcome)}\n```\n")
    return "\n".join(blocks)


def promises(found: list[Promise]) -> str:
    """Return the list of promises, each kept, broken or not measured."""
    if not found:
        return "no promise is made here"
    lines = []
    for promise in found:
        word = "kept" if promise.kept else "BROKEN" if promise.value is not None else "UNKNOWN"
        value = "not measured" if promise.value is None else f"{promise.value:.3g}"
        lines.append(f"{word:<8} {promise.text}: {value} ({promise.limits})")
    return "\n".join(lines)
