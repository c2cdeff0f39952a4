# SPDX-License-Identifier: GPL-3.0-or-later
"""How many binds succeed in a second if 1, 10 and 100 processes bind at once?"""

from __future__ import annotations

from functools import partial

import support

from bench import world
from bench.figures import Outcome, Series, paired

PROCESSES = (1, 10, 100)
ROUNDS = 12
_BINDS = 400  # of all processes together, in one round


def title_of(processes: int) -> str:
    """Return the title of a series."""
    return f"binds per second, {processes} at once"


def run(rounds: int) -> Outcome:
    """Measure; ratios are to the preload library."""
    world.grant(80)
    program = world.compiled("binds")
    series = []
    for processes in PROCESSES:
        ways = {way: partial(_rate, way, program, processes) for way in world.SERVED}
        found = paired(ways, rounds, "preload")
        series.append(Series(title_of(processes), "1/s", "preload", found))
    return Outcome(series, [], [])


def _rate(way: str, program: str, processes: int) -> float:
    count = _BINDS // processes
    argv = [*world.wrapper(way), program, "many", str(processes), str(count)]
    result = support.run(argv)
    if result.returncode != 0:
        raise ChildProcessError(f"{argv}: status {result.returncode}\n{result.stderr}")
    return processes * count / (int(result.stdout) * 1e-9)
