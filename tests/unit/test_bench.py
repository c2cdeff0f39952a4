# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's arithmetic, and that docs/figures.md shows what it draws."""

import pathlib
import re

import pytest

from bench import __main__ as command
from bench import figures

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def series(**values):
    return figures.Series("title", "s", "a", values)


def test_ways_take_turns():
    """Each way once in a round, the reference twice, every other round backwards."""
    ran = []
    ways = {name: lambda name=name: ran.append(name) or len(ran) for name in "ab"}
    found = figures.paired(ways, 3, "a")
    assert "".join(ran) == "aba" * 3
    assert found == {"a": [1, 6, 7], "b": [2, 5, 8], figures.AGAIN: [3, 4, 9]}


def test_another_reference_may_stand_for_the_second_run():
    """A way of the name AGAIN runs in place of the reference's second run."""
    ways = {"a": lambda: 1, figures.AGAIN: lambda: 2}
    assert figures.paired(ways, 2, "a") == {"a": [1, 1], figures.AGAIN: [2, 2]}


def test_ratios_are_made_within_a_round():
    """A round in which everything is slow does not change the ratio."""
    assert series(a=[1, 10, 2], b=[2, 20, 4]).ratio("b") == 2
    assert series(a=[1, 10, 2], b=[3, 30, 6], c=[1, 10, 3]).ratio("b", "c") == 3
    assert series(a=[1, 10, 2]).median("a") == 2


def test_noise():
    """Noise is a factor, of the reference against itself only; the spread its largest."""
    even = series(a=[1.0] * 5, **{figures.AGAIN: [1.0, 0.5, 2.0, 1.0, 2.0]})
    assert even.noise() == 2
    assert series(a=[1.0] * 3, **{figures.AGAIN: [1.0, 0.25, 2.0]}).spread() == 4
    assert series(a=[1.0, 2.0]).spread() is None
    assert series(a=[1.0], **{figures.AGAIN: [1.0]}).noise() is None
    assert series(a=[1.0, 2.0]).noise() is None


@pytest.mark.parametrize(
    ("value", "limits", "word"),
    [
        (1.6, {"at_most": 1.6}, "kept"),
        (1.61, {"at_most": 1.6}, "BROKEN"),
        (6, {"at_least": 6}, "kept"),
        (5.9, {"at_least": 6}, "BROKEN"),
        (None, {"at_least": 6}, "UNKNOWN"),
    ],
)
def test_promises(value, limits, word):
    """A promise is kept within its limits; what was not measured is not kept."""
    promise = figures.Promise("text", value, **limits)
    assert promise.kept == (word == "kept")
    assert figures.promises([promise]).startswith(f"{word} ")


def test_results_are_read_as_written(tmp_path):
    """JSON carries all that the plots need; a part that is written leaves the others."""
    promise = figures.Promise("text", 1.5, at_most=2)
    found = figures.Outcome([series(a=[1.0, 2.0], b=[3.0, 4.0])], [promise], ["note"])
    path = tmp_path / "new" / "x.json"
    figures.write(path, "bind", found, {"cpus": 2})
    figures.write(path, "again", found, {"cpus": 4})
    assert figures.read(path) == {"again": (found, {"cpus": 4}), "bind": (found, {"cpus": 2})}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5e-6, "s", "1.5 us"),
        (0.0123, "s", "12.3 ms"),
        (1e-9, "s", "0.001 us"),
        (12345.6, "1/s", "12,346 /s"),
        (5 << 20, "B", "5 MiB"),
    ],
)
def test_quantities(value, unit, text):
    """Three digits, in the unit that suits."""
    assert figures.quantity(value, unit) == text


def test_figures_show_each_part():
    """Every part has a module, and docs/figures.md shows its drawing."""
    modules = {path.stem for path in (ROOT / "bench" / "parts").glob("[a-z]*.py")}
    assert modules == set(command.PARTS)
    shown = re.findall(r"bench/results/[\w-]+\.svg", (ROOT / "docs/figures.md").read_text())
    drawn = {f"bench/results/{part}.svg" for part in command.PARTS}
    assert set(shown) == drawn
    assert all("prefers-color-scheme: dark" in (ROOT / name).read_text() for name in drawn)
