# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does one bind(2) take, by the way it is served and by the size of the program?

The programs (`binds loop`) fill their heap once, and stay alive while they take turns.
The ways that a promise compares are alive at the same time and take turns together.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench import world
from bench.figures import Outcome, Promise, Series, paired

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

MAIN = "bind of port 80: preload and authbind"
REST = "bind of port 80: native, kernel and supervised"
UNPRIVILEGED = "bind of port 8080"
HEAPS_GIB = (0, 1, 4)
ROUNDS = 25
_BINDS = 30  # of one way, in one round
_ALIVE = 3  # ways with each heap that are alive at the same time
_BINDS_LONG = 3  # if one bind takes tens of milliseconds
_PINNED = "one CPU"
_EMPTY = "an empty program is started and ends"  # the minimum cost of a process
_UNPRIVILEGED_FROM = 1024
_MEMORY_SPARE = 1.15  # for page tables and the rest of the machine


def _start_loop(
    program: str, way: str, heap_gib: int, port: int, pinned: bool, cgroup: pathlib.Path | None
) -> world.Loop:
    """Start a `binds loop`; `native` runs as root, all others as nobody, `kernel` in the group."""
    argv = [*world.wrapper(way), program, "loop", str(port), str(heap_gib << 10)]
    if way == _EMPTY:
        argv.append(world.compiled("empty", "-static", "-nostdlib"))
    count = _BINDS_LONG if way == "authbind" and heap_gib else _BINDS
    ids = {"uid": 0, "gid": 0} if way == "native" and port < _UNPRIVILEGED_FROM else {}
    before = world.pinned(world.FIRST_CPU) if pinned else []
    enter = world.entering(cgroup if way == "kernel" else None)
    return world.Loop([*before, *argv], count, preexec_fn=enter, **ids)


def name_of(way: str, heap_gib: int | str) -> str:
    """Return the name in the series of a way with a heap."""
    return f"{way}, {heap_gib} GiB" if isinstance(heap_gib, int) else f"{way}, {heap_gib}"


def run(rounds: int) -> Outcome:
    """Measure; ratios are to the preload library without a heap."""
    world.grant(80)
    program = world.compiled("binds")
    heaps, notes = _heaps_that_fit()
    small = name_of("preload", 0)
    both = {name_of(way, heap): (way, heap, 80, False) for heap in heaps
            for way in ("preload", "authbind")}  # fmt: skip
    both |= {name_of(way, _PINNED): (way, 0, 80, True) for way in ("preload", "authbind")}
    rest = {name_of(way, heap): (way, heap, 80, False) for heap in heaps
            for way in ("native", "kernel", "supervised")}  # fmt: skip
    rest |= {small: ("preload", 0, 80, False), _EMPTY: (_EMPTY, 0, 80, False)}
    rest |= {name_of(_EMPTY, _PINNED): (_EMPTY, 0, 80, True)}
    free = {way: (way, 0, 8080, False) for way in ("native", "preload", "supervised", "authbind")}
    series = [
        Series(title, "s", reference, _measured(program, ways, rounds, reference))
        for title, ways, reference in (
            (MAIN, both, small), (REST, rest, small), (UNPRIVILEGED, free, "native"),
        )
    ]  # fmt: skip
    pinned = series[0].ratio(name_of("authbind", _PINNED), name_of("preload", _PINNED))
    notes.append(f"authbind / preload without a heap, both on one CPU: {pinned:.3g}")
    free_cpu, one_cpu = (
        series[0].median(name_of("authbind", heap)) / series[1].median(empty)
        for heap, empty in ((0, _EMPTY), (_PINNED, name_of(_EMPTY, _PINNED)))
    )
    notes.append(f"authbind / an empty program: {free_cpu:.3g}, on one CPU {one_cpu:.3g}: "
                 "no way that starts a process can be faster")  # fmt: skip
    return Outcome(series, _promises(series[0], heaps), notes)


def _measured(
    program: str, ways: dict[str, tuple[str, int, int, bool]], rounds: int, reference: str
) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        judged = any(way == "kernel" for way, *_ in ways.values())
        cgroup = stack.enter_context(world.pybindd()).cgroup if judged else None
        loops = stack.enter_context(_running(program, ways, cgroup))
        return paired({name: loop.bind for name, loop in loops.items()}, rounds, reference)


@contextlib.contextmanager
def _running(
    program: str, ways: dict[str, tuple[str, int, int, bool]], cgroup: pathlib.Path | None
) -> Iterator[dict[str, world.Loop]]:
    loops: dict[str, world.Loop] = {}
    try:
        for name, words in ways.items():
            loops[name] = _start_loop(program, *words, cgroup)
        yield loops
    finally:
        for loop in loops.values():
            loop.end()


def _heaps_that_fit() -> tuple[list[int], list[str]]:
    free = world.memory()["MemAvailable"] / 2**30 / _MEMORY_SPARE
    heaps = [heap for at, heap in enumerate(HEAPS_GIB) if _ALIVE * sum(HEAPS_GIB[: at + 1]) <= free]
    left = [str(heap) for heap in HEAPS_GIB if heap not in heaps]
    note = f"heaps of {', '.join(left)} GiB left out: {free:.0f} GiB of memory are available"
    return heaps, [note] if left else []


def _promises(series: Series, heaps: list[int]) -> list[Promise]:
    largest = HEAPS_GIB[-1]
    known = largest in heaps
    factor = {
        heap: series.ratio(name_of("authbind", heap), name_of("preload", heap))
        for heap in heaps
    }  # fmt: skip
    growth = [series.ratio(name_of("preload", heap)) for heap in heaps[1:]]
    flat = max(growth) if known else None
    return [
        Promise("authbind / preload, one bind of a small program", factor[0], at_least=6),
        Promise(f"authbind / preload, one bind with a heap of {largest} GiB", factor.get(largest),
                at_least=200),
        Promise("preload: the largest of the heaps / none", flat, at_most=1.1),
    ]  # fmt: skip
