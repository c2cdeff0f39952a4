# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory does pybind use while the program runs?"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import support

from bench import world
from bench.figures import AGAIN, Outcome, Promise, Series, paired

if TYPE_CHECKING:
    from collections.abc import Iterator

RESIDENT, SHARED_OUT, PRIVATE = "resident memory", "proportional memory (PSS)", "private memory"
ROUNDS = 3
ALONE, PRELOADED, SUPERVISED = "cat alone", "cat, preload", "cat, supervised"
LIBRARY = "libpybind.so in it"
FRONT, SUPERVISOR = "front", "supervisor"
BINDS = 200
AFTER = f"supervisor, after {BINDS} binds"
_SIZES = re.compile(r"^(Rss|Pss|Private_Clean|Private_Dirty):\s+(\d+) kB", re.M)


class _Sizes(NamedTuple):
    """Bytes, as in proc_pid_smaps(5)."""

    resident: int
    shared_out: int
    private: int


class _Left(NamedTuple):
    """What else a program has: its mapped files and the processes of its user."""

    files: set[str]
    processes: int


def run(rounds: int) -> Outcome:
    """Measure; ratios are to the program alone."""
    world.grant(80)
    program = world.compiled("binds")
    ways = {
        ALONE: _plain,
        PRELOADED: lambda: _wrapped("preload"),
        LIBRARY: _library,
        SUPERVISED: lambda: _wrapped("supervised"),
        FRONT: lambda: _helpers(program, 0)[0],
        SUPERVISOR: lambda: _helpers(program, 0)[1],
        AFTER: lambda: _helpers(program, BINDS)[1],
    }
    found = paired(ways, rounds, ALONE)
    found.pop(AGAIN)  # counts of pages have no noise
    series = [
        Series(
            title, "B", ALONE, {way: [float(s[at]) for s in them] for way, them in found.items()}
        )
        for at, title in enumerate((RESIDENT, SHARED_OUT, PRIVATE))
    ]
    more = _left("preload").files - _left("").files
    notes = [f"mapped with preload, and not without it: {', '.join(sorted(more))}"]
    promises = [
        Promise("files mapped with preload beside the library", len(more - {support.LIBRARY}),
                at_most=0),
        Promise("processes with preload beside the program", _left("preload").processes - 1,
                at_most=0),
    ]  # fmt: skip
    return Outcome(series, promises, notes)


def _plain() -> _Sizes:
    return _wrapped("")


def _wrapped(way: str) -> _Sizes:
    with _cat(way) as pid:
        return _sizes(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text())


def _library() -> _Sizes:
    """Return the sizes of the library's mappings in the program."""
    with _cat("preload") as pid:
        text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M)
    return _sizes("".join(part for part in parts if support.LIBRARY in part.split("\n", 1)[0]))


def _left(way: str) -> _Left:
    with _cat(way) as pid:
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
        count = 0
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(FileNotFoundError):
                count += os.stat(f"/proc/{name}").st_uid == support.UID
    return _Left(set(re.findall(r" (/\S+)$", maps, re.M)), count)


@contextlib.contextmanager
def _cat(way: str) -> Iterator[int]:
    """Run cat until it has answered once; yield its PID."""
    process = support.as_user(
        [*world.wrapper(way), "/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        process.stdin.write(b"x\n")
        process.stdin.flush()
        if process.stdout.readline() != b"x\n":
            raise ChildProcessError(f"cat does not start, way {way!r}")
        pid = process.pid
        if way == "supervised":
            pid = _child(_child(pid))
        yield pid
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _helpers(program: str, binds: int) -> tuple[_Sizes, _Sizes]:
    """Return the sizes of the front and of the supervisor after that many binds."""
    command = [*world.wrapper("supervised"), program, "loop", "80", "0"]
    front = support.as_user(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert front.stdout.readline() == "ready\n"
        if binds:
            front.stdin.write(f"{binds}\n")
            front.stdin.flush()
            front.stdout.readline()
        pids = (front.pid, _child(front.pid))
        first, second = (
            _sizes(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids
        )
        return first, second
    finally:
        front.stdin.close()
        front.stdout.close()
        front.wait()


def _child(pid: int) -> int:
    """Return the PID of the only child of a process."""
    (child,) = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def _sizes(text: str) -> _Sizes:
    total = {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for name, size in _SIZES.findall(text):
        total[name] += int(size) * 1024
    return _Sizes(total["Rss"], total["Pss"], total["Private_Clean"] + total["Private_Dirty"])
