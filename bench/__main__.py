# SPDX-License-Identifier: GPL-3.0-or-later
"""
Measures pybind beside its peers: make bench, or make bench BENCH='launch bind'.

Each part prints a table. The folder of the results gets figures.json with the
figures of all parts, a drawing PART.svg of each, and README.md with all tables.
At the end each promise is listed. The exit status is 1 when a promise is broken
or could not be measured, else 0.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = ("launch", "bind", "kernel", "serving", "decision", "parallel", "memory")
FIGURES = "figures.json"
HERE = pathlib.Path(__file__).resolve().parent


def main() -> int:
    """Measure the parts that were asked for; returns the exit status."""
    options = argparse.ArgumentParser(prog="bench", description=__doc__.split("\n")[1])
    options.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    options.add_argument("--rounds", type=int, help="instead of each part's own number")
    options.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    options.add_argument("--show", action="store_true", help="only show what was measured before")
    given = options.parse_args()
    parts = given.parts or PARTS
    for part in parts:
        if part not in PARTS:
            options.error(f"{part} is not one of {', '.join(PARTS)}")
    if os.geteuid() != 0 or "PYBIND_SANDBOX" not in os.environ:
        sys.exit("bench: run it as root through tools/sandbox, as make bench does")
    if given.show:
        _show(given.results, parts)
        return 0
    return _measure(given.results, parts, given.rounds)


def _measure(results: pathlib.Path, parts: Sequence[str], rounds: int | None) -> int:
    from . import figures, world

    facts = world.facts()
    print(figures.machine(facts))
    promised = []
    with world.off_the_overlay() as notes:
        for part in parts:
            module = importlib.import_module(f"bench.parts.{part}")
            start = time.monotonic()
            world.clear()
            found = module.run(rounds or module.ROUNDS)
            found.notes.extend(notes)
            figures.write(results / FIGURES, part, found, facts)
            promised += found.promises
            taken = time.monotonic() - start
            print(f"\n== {part} ({taken:.0f} s)\n{figures.table(found)}", flush=True)
    _show(results, parts)
    print(f"\n== promises\n{figures.promises(promised)}")
    return 0 if all(promise.kept for promise in promised) else 1


def _show(results: pathlib.Path, parts: Sequence[str]) -> None:
    """Draw the parts, and write a page of all parts that were ever measured."""
    from . import figures, plots

    measured = figures.read(results / FIGURES)
    for part in parts:
        plots.draw(part, *measured[part], results)
    page = figures.page({part: measured[part] for part in PARTS if part in measured})
    (results / "README.md").write_text(page)


if __name__ == "__main__":
    sys.exit(main())
