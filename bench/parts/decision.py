# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does a helper take to decide and bind, by the number of files and rules?

The time of one helper, pybind's or authbind's, is taken from its spawn to its end. The
code that asks is that of tests/proof/compat. The permission files are made beforehand and
renamed into place for each turn.
"""

from __future__ import annotations

import os
import pathlib
import socket
import statistics
import time
from functools import partial
from typing import Callable, NamedTuple

import ask
import reference
import support

from bench import world
from bench.figures import Outcome, Promise, Series, paired

BY_FILES = "decision, by the number of byport files"
BY_LINES = "decision, by the lines of a rule file (the last one grants)"
FIRST_LINE = "decision, when the first of 10,000 lines grants"
FILES = (10, 1_000, 100_000)
LINES = (10, 100, 1_000, 10_000)
ROUNDS = 25
_ASKED = 15  # in one round
_PORT = 80
_HELPERS = {"pybind": ask.ask_pybind, "authbind": ask.ask_authbind}
_BYPORT = {"pybind": support.CONFIG / "byport", "authbind": world.AUTHBIND / "byport"}
_BYUSER = {"pybind": support.CONFIG / "byuser", "authbind": world.AUTHBIND / "byuid"}


class _Parked(NamedTuple):
    """Permission files that wait beside the folder in which a helper looks."""

    place: pathlib.Path
    parked: pathlib.Path
    asking: Callable[[reference.Request], ask.Answer]

    def measure(self) -> float:
        """Put the files into place and ask; return the median of the seconds."""
        self.parked.rename(self.place)
        try:
            return float(world.as_nobody(self._median))
        finally:
            self.place.rename(self.parked)

    def _median(self) -> float:
        caller = reference.Caller(support.UID, support.GID, ())
        request = reference.Request(socket.inet_aton("127.0.0.1"), _PORT, "tcp", 0, caller)
        taken = []
        for _ in range(_ASKED):
            start = time.perf_counter()
            answer = self.asking(request)
            taken.append(time.perf_counter() - start)
            if (answer.granted, answer.error) != (True, 0):
                raise PermissionError(f"{self.parked}: {answer}")
        return statistics.median(taken)


def name_of(helper: str, count: int, what: str) -> str:
    """Return the name of a way in the series."""
    return f"{helper}, {count:,} {what}"


def run(rounds: int) -> Outcome:
    """Measure; ratios are to pybind with the fewest files or lines."""
    series = [
        _series(rounds, BY_FILES, FILES, "files", _write_flags),
        _series(rounds, BY_LINES, LINES, "lines", partial(_write_rules, first=False)),
        _series(rounds, FIRST_LINE, LINES[-1:], "lines", partial(_write_rules, first=True)),
    ]
    few, many = (name_of("pybind", count, "files") for count in (FILES[0], FILES[-1]))
    ours, theirs = (name_of(helper, LINES[-1], "lines") for helper in _HELPERS)
    promises = [
        Promise(f"decision: {FILES[-1]:,} byport files / {FILES[0]}", series[0].ratio(many, few),
                at_most=1.1),
        Promise(f"decision, {LINES[-1]:,} lines, the last one grants: pybind / authbind",
                series[1].ratio(ours, theirs), at_most=1),
    ]  # fmt: skip
    return Outcome(series, promises, [])


def _series(
    rounds: int, title: str, counts: tuple[int, ...], what: str,
    write: Callable[[str, int], pathlib.Path],
) -> Series:  # fmt: skip
    world.clear()
    ways = {}
    for helper, asking in _HELPERS.items():
        for count in counts:
            place = write(helper, count)
            parked = place.with_name(f"{place.name}.{count}")
            place.rename(parked)
            ways[name_of(helper, count, what)] = _Parked(place, parked, asking).measure
    few = name_of("pybind", counts[0], what)
    return Series(title, "s", few, paired(ways, rounds, few))


def _write_flags(helper: str, count: int) -> pathlib.Path:
    """Write flag files of ports, and of ports with a protocol when all ports are used."""
    folder: pathlib.Path = _BYPORT[helper]
    if folder.exists():
        folder.rmdir()
    folder.mkdir(mode=0o755)
    names = [str(_PORT), *(str(port) for port in range(1, 65536) if port != _PORT)]
    names += [f"{port},udp" for port in range(1, 65536)]
    for name in names[:count]:
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o644))
    (folder / str(_PORT)).chmod(0o755)
    return folder


def _write_rules(helper: str, count: int, first: bool) -> pathlib.Path:
    """Write a rule file with one granting line, in the form that both helpers read."""
    rules = [f"10.{n >> 8}.{n & 255}.0-10.{n >> 8}.{n & 255}.255,2000-2999" for n in range(count)]
    rules[0 if first else -1] = f"127.0.0.1,{_PORT}"
    path: pathlib.Path = _BYUSER[helper] / str(support.UID)
    path.write_text("".join(rule + "\n" for rule in rules))
    path.chmod(0o644)
    return path
