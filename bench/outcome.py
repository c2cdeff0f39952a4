# SPDX-License-Identifier: GPL-3.0-or-later
"""What a part of the benchmark found, as values and as JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from .paired import Series

if TYPE_CHECKING:
    import pathlib

_DIGITS = 5  # significant ones, in the files


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
