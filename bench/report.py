# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures as text, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .outcome import Outcome, Promise
    from .paired import Series

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    "1/s": ((1.0, "/s"),),
    "B": ((2**20, "MiB"), (2**10, "KiB")),
}


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
