#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does bind(2) of port 80 take: native as root, under pybind, under authbind?

    make && tools/sandbox bench/bind.py [--rounds N] [--binds N] [--pin]

Needs root, gcc and Debian's package authbind. The ways take turns (A B C A B
C ...), so that a change in the machine's load meets all of them. Each figure
is the median over the rounds of the median over the binds of one process.
Ends with status 1 when a promise is broken: four times faster than authbind
with a small program, and the same time (within 20 %) with a heap of 1 GiB.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
NOBODY = "65534"
DROP = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"]
PYBIND = os.environ.get("PREFIX", "/usr/local") + "/bin/pybind"
# setpriv keeps the permitted capabilities until the next exec: hence env.
WAYS = {
    "native (root)": [],
    "pybind": [*DROP, "/usr/bin/env", PYBIND, "--port", "80", "--"],
    "authbind": [*DROP, "/usr/bin/env", "authbind"],
}
PIN = ["taskset", "--cpu-list", "0", "chrt", "--fifo", "50"]
HEAPS_MIB = (0, 1024)
FASTER_AT_LEAST = 4.0
HEAP_RATIO_MAX = 1.2


def main() -> int:
    """Measure, print the table, judge the promises."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--binds", type=int, default=200, help="in each process")
    options.add_argument(
        "--pin", action="store_true", help="one CPU, real-time: for a machine that is not idle"
    )
    given = options.parse_args()
    if os.geteuid() != 0 or "PYBIND_SANDBOX" not in os.environ:
        sys.exit("bench/bind.py: run it as root through tools/sandbox")
    for program, package in (("gcc", "gcc"), ("authbind", "authbind"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            sys.exit(f"bench/bind.py: {program} is missing: apt-get install {package}")
    grant("/etc/pybind/byport/80")
    grant("/etc/authbind/byport/80")
    with tempfile.TemporaryDirectory(dir=os.environ["PYBIND_SANDBOX"]) as folder:
        os.chmod(folder, 0o755)
        program = os.path.join(folder, "bind_loop")
        subprocess.run(["gcc", "-O2", "-o", program, HERE / "bind_loop.c"], check=True)
        return report(measure(program, given))


def grant(name: str) -> None:
    """Let everybody bind what the flag file names."""
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o755)


def measure(program: str, given: argparse.Namespace) -> dict[tuple[str, int], list[int]]:
    """Return the nanoseconds of every round, by way and heap."""
    figures: dict[tuple[str, int], list[int]] = {(w, h): [] for h in HEAPS_MIB for w in WAYS}
    for _ in range(given.rounds):
        for (way, heap), values in figures.items():
            pin = PIN if given.pin else []
            command = [*pin, *WAYS[way], program, str(given.binds), str(heap)]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            values.append(int(result.stdout.split()[0]))
    return figures


def report(figures: dict[tuple[str, int], list[int]]) -> int:
    """Print the table; returns 1 when a promise is broken, else 0."""
    median = {key: statistics.median(values) for key, values in figures.items()}
    print(f"load: {' '.join(map(str, os.getloadavg()))} on {os.cpu_count()} CPUs")
    print(f"{'way':<14} {'heap':>9} {'median of a bind':>18} {'range over rounds':>24}")
    for (way, heap), values in figures.items():
        low, high = min(values) / 1000, max(values) / 1000
        middle = f"{median[way, heap] / 1000:.1f} us"
        print(f"{way:<14} {heap:>5} MiB {middle:>18} {f'{low:.1f} to {high:.1f} us':>24}")
    small, large = HEAPS_MIB[0], HEAPS_MIB[-1]
    faster = {h: median["authbind", h] / median["pybind", h] for h in HEAPS_MIB}
    heap_ratio = median["pybind", large] / median["pybind", small]
    for heap, factor in faster.items():
        print(f"authbind / pybind at {heap} MiB: {factor:.1f}")
    print(f"pybind at {large} MiB / at {small} MiB: {heap_ratio:.2f}")
    kept = faster[small] >= FASTER_AT_LEAST and heap_ratio <= HEAP_RATIO_MAX
    print("promises kept" if kept else "PROMISE BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
