#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""
How long does bind(2) take natively, with the preload library, with a supervisor?

    make && tools/sandbox bench/supervised.py [--rounds N] [--binds N]

Needs root and gcc. A privileged port (80) and an unprivileged one (8080); the
native privileged bind is root's. The ways take turns (A B C A B C ...), so
that a change in the machine's load meets all of them. Each figure is the median
over the rounds of the median over the binds of one process. Then the memory of
the front and of the supervisor, with an idle program and after its binds.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
NOBODY = "65534"
DROP = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"]
# setpriv keeps the permitted capabilities until the next exec: hence env.
USER = [*DROP, "/usr/bin/env"]
PYBIND = [*USER, os.environ.get("PREFIX", "/usr/local") + "/bin/pybind", "--port", "80", "--mode"]
PORTS = {"privileged": 80, "unprivileged": 8080}
TIMEOUT_S = 120


def ways(kind: str) -> dict[str, list[str]]:
    """Return what stands before the program, by way."""
    return {
        "native": USER if kind == "unprivileged" else [],
        "preload": [*PYBIND, "preload", "--"],
        "supervise": [*PYBIND, "supervise", "--"],
    }


def main() -> int:
    """Measure, print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--binds", type=int, default=200, help="in each process")
    given = options.parse_args()
    if os.geteuid() != 0 or "PYBIND_SANDBOX" not in os.environ:
        sys.exit("bench/supervised.py: run it as root through tools/sandbox")
    for program, package in (("gcc", "gcc"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            sys.exit(f"bench/supervised.py: {program} is missing: apt-get install {package}")
    flag = pathlib.Path("/etc/pybind/byport/80")
    flag.touch()
    flag.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=os.environ["PYBIND_SANDBOX"]) as folder:
        os.chmod(folder, 0o755)
        programs = {kind: compile_loop(folder, port) for kind, port in PORTS.items()}
        report_times(measure(programs, given.rounds, given.binds))
        report_memory(programs, given.binds)
    return 0


def compile_loop(folder: str, port: int) -> str:
    """Compile bench/bind_loop.c for another port; returns the program's path."""
    source = (HERE / "bind_loop.c").read_text()
    changed = source.replace("htons(80)", f"htons({port})")
    assert changed.count(f"htons({port})") == 1
    path = pathlib.Path(folder) / f"bind_{port}"
    path.with_suffix(".c").write_text(changed)
    command = ["gcc", "-O2", "-o", path, path.with_suffix(".c")]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return os.fspath(path)


def measure(programs: dict[str, str], rounds: int, binds: int) -> dict[tuple[str, str], list[int]]:
    """Return the nanoseconds of every round, by kind of port and way."""
    figures: dict[tuple[str, str], list[int]] = {(k, w): [] for k in PORTS for w in ways(k)}
    for _ in range(rounds):
        for (kind, way), values in figures.items():
            command = [*ways(kind)[way], programs[kind], str(binds), "0"]
            result = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT_S
            )
            values.append(int(result.stdout.split()[0]))
    return figures


def report_times(figures: dict[tuple[str, str], list[int]]) -> None:
    """Print the median of each way, its range, and how often the native time it is."""
    print(f"{'port':<13} {'way':<10} {'median of a bind':>17} {'range over rounds':>23} {'':>9}")
    for (kind, way), values in figures.items():
        middle = statistics.median(values)
        times = middle / statistics.median(figures[kind, "native"])
        low, high = min(values) / 1000, max(values) / 1000
        print(
            f"{kind:<13} {way:<10} {middle / 1000:>14.1f} us "
            f"{f'{low:.1f} to {high:.1f} us':>23} {times:>7.1f} x"
        )


def report_memory(programs: dict[str, str], binds: int) -> None:
    """Print what front and supervisor hold: idle, and after the program's binds."""
    loop = f"{programs['privileged']} {binds} 0"
    print(f"\n{'memory':<12} {'after':<18} {'RSS':>10} {'PSS':>10} {'private':>10}")
    for after, script in (("no bind", ""), (f"{binds} binds", f"{loop} >/dev/null;")):
        # The program says its own pid when it is through, and waits for its input to end.
        command = [*PYBIND, "supervise", "--", "/bin/sh", "-c", f"{script} echo $$; read end"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as front:
            assert front.stdin and front.stdout
            supervisor = parent(int(front.stdout.readline()))
            for name, pid in (("front", front.pid), ("supervisor", supervisor)):
                rss, pss, private = memory(pid)
                print(f"{name:<12} {after:<18} {rss:>7} kB {pss:>7} kB {private:>7} kB")
            front.stdin.close()
            front.wait(TIMEOUT_S)


def parent(pid: int) -> int:
    """Return the PID of a process's parent."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^PPid:\s*(\d+)", status, re.M)[0])


def memory(pid: int) -> tuple[int, int, int]:
    """Return resident, proportional and private memory of a process, in kB."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return sizes["Rss"], sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


if __name__ == "__main__":
    sys.exit(main())
