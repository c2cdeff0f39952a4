# SPDX-License-Identifier: GPL-3.0-or-later
"""What does pybindd cost: for a granted bind, any other bind, a change, and in memory?

Each pybindd serves its own control group, below the unified root.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pathlib
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Callable

import support

from bench import world
from bench.figures import Outcome, Promise, Series, paired

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
GRANTED, FREE = "bind of a granted port, kernel way", "bind of port 8080, with pybindd"
EFFECT = "from a change of 10,000 files to its effect"
NATIVE, FEW, MANY = "root, native", "nobody, kernel", "nobody, kernel, 100,000 files"
AUTHBIND, PRELOAD = "nobody, authbind", "nobody, preload"
WITHOUT, WITH, WITH_MANY = "without pybindd", "with pybindd", "with pybindd, 100,000 files"
_COUNTS = {PRELOAD: 20, AUTHBIND: 20}
_BINDS = 10_000  # of any other way: 10 ms, so that one disturbance is not all that is seen
_LARGE = 100_000
_CHANGES = 60  # of each kind
_SIZES = {"10 flag files": 10, "1,000 flag files": 1000, "100,000 flag files": _LARGE}
_RULE_FILES, _RULES = 10_000, 100


def _table_bytes() -> int:
    """Return the bytes of all tables in the kernel, which are the frozen maps."""
    library = ctypes.CDLL("libbpf.so.1")
    total, at = 0, ctypes.c_uint32(0)
    while library.bpf_map_get_next_id(at.value, ctypes.byref(at)) == 0:
        fd = library.bpf_map_get_fd_by_id(at.value)
        if fd >= 0:
            text = pathlib.Path(f"/proc/self/fdinfo/{fd}").read_text()
            os.close(fd)
            if int(text.partition("frozen:")[2].split()[0]):
                total += int(text.partition("memlock:")[2].split()[0])
    return total


def _start_loop(way: str, port: int, cgroup: pathlib.Path | None, uid: int) -> world.Loop:
    """Start a `binds loop` in a control group, or outside of all."""
    loop = [world.compiled("binds"), "loop", str(port), "0"]
    argv = [*world.wrapper(way.rpartition(", ")[2]), *loop]
    return world.Loop(
        argv, _COUNTS.get(way, _BINDS), uid=uid, gid=uid, preexec_fn=world.entering(cgroup)
    )


def run(rounds: int) -> Outcome:
    """Measure with one pybindd at a time, because a host can have only one."""
    notes: list[str] = []
    world.grant(80)
    binds: dict[str, list[float]] = {}
    free: dict[str, list[float]] = {}
    with world.pybindd() as few:
        found = _paired(rounds, few, {NATIVE: 0, FEW: 1, PRELOAD: 1, AUTHBIND: 1}, NATIVE, 80)
        binds.update(found)
        free.update(_paired(rounds, few, {WITHOUT: 1, WITH: 1}, WITHOUT, 8080))
    effect = _effects()
    _make_flags(_LARGE)
    with world.pybindd() as many:
        large = _paired(rounds, many, {NATIVE: 0, MANY: 1}, NATIVE, 80)
        large_free = _paired(rounds, many, {WITHOUT: 1, WITH_MANY: 1}, WITHOUT, 8080)
    notes += _starts()
    granted = Series(GRANTED, "s", NATIVE, binds)
    more = Series(f"{GRANTED}, 100,000 files", "s", NATIVE, large)
    unprivileged = Series(FREE, "s", WITHOUT, free)
    more_free = Series(f"{FREE}, 100,000 files", "s", WITHOUT, large_free)
    effects = Series(EFFECT, "s", "rm", effect)
    late = max(sorted(them)[int(len(them) * 0.99)] for them in effect.values())
    promises = [
        Promise("kernel / native, one bind", granted.ratio(FEW), at_most=1.7),
        Promise("authbind / kernel, one bind", granted.ratio(AUTHBIND, FEW), at_least=300),
        Promise("an unprivileged bind with pybindd / without", unprivileged.ratio(WITH),
                at_most=1.15),
        Promise("kernel, 100,000 files / a few", more.ratio(MANY) / granted.ratio(FEW),
                at_most=1.1),
        Promise("an unprivileged bind with 100,000 files / without pybindd",
                more_free.ratio(WITH_MANY), at_most=1.15),
        Promise("seconds from a change to its effect, 99th percentile", late, at_most=0.1),
    ]  # fmt: skip
    return Outcome([granted, more, unprivileged, more_free, effects], promises, notes)


def _paired(
    rounds: int, running: world.Pybindd, ways: dict[str, int], reference: str, port: int
) -> dict[str, list[float]]:
    """Let ways take turns: 0 is root outside the group, 1 nobody."""
    outside = {NATIVE, WITHOUT, PRELOAD, AUTHBIND}
    loops: dict[str, world.Loop] = {}
    try:
        for way, who in ways.items():
            cgroup = None if way in outside else running.cgroup
            loops[way] = _start_loop(way, port, cgroup, support.UID if who else 0)
        return paired({way: loop.bind for way, loop in loops.items()}, rounds, reference)
    finally:
        for loop in loops.values():
            loop.end()


def _make_flags(count: int) -> None:
    """Make flag files: byport/80, and others that no bind asks for."""
    world.clear()
    world.grant(80)
    for number in range(count - 1):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        support.flag(f"byaddr/{address},443", mode=0o700)


def _starts() -> list[str]:
    """Return lines with the start time and memory of pybindd for sizes of /etc/pybind."""
    notes = []
    for title, count in _SIZES.items():
        _make_flags(count)
        notes.append(_start(title))
    world.clear()
    text = "".join(f"any,{port}/tcp\n" for port in range(1, _RULES + 1))
    for uid in range(20_000, 20_000 + _RULE_FILES):
        (support.CONFIG / f"byuser/{uid}").write_text(text)
    notes.append(_start(f"{_RULE_FILES:,} rule files of {_RULES} lines"))
    return notes


def _start(title: str) -> str:
    before = _table_bytes()
    with world.pybindd() as running:
        tables = (_table_bytes() - before) / 2**20
        return (
            f"{title}: ready after {running.start_s:.2f} s, {running.resident() >> 20} MiB of its "
            f"own, {tables:.1f} MiB of tables in the kernel"
        )


def _effects() -> dict[str, list[float]]:
    """Return the seconds from the end of a change to the first bind that shows the change."""
    _make_flags(10_000)
    path = support.CONFIG / "byport/80"
    rules = support.rules(f"byuser/{support.UID}", "any,81/tcp")
    there, lists = path.read_bytes(), ["setfacl", "-m", f"u:{support.UID}:"]

    def set_list(perm: str) -> None:
        subprocess.run([*lists[:2], lists[2] + perm, path], check=True)

    def recreate() -> None:
        path.write_bytes(there)
        os.chown(path, 0, support.GID)
        path.chmod(0o750)

    away = support.CONFIG.with_name("pybind.away")
    changes: dict[str, tuple[Callable[[], Any], Callable[[], Any], int]] = {
        "rm": (path.unlink, recreate, 80),
        "chmod": (lambda: path.chmod(0o700), lambda: path.chmod(0o750), 80),
        "setfacl": (lambda: set_list("-"), lambda: set_list("x"), 80),
        "edit of a rule file": (
            lambda: rules.write_text("any,82/tcp\n"), lambda: rules.write_text("any,81/tcp\n"), 81,
        ),
        "mv /etc/pybind": (
            lambda: support.CONFIG.rename(away), lambda: away.rename(support.CONFIG), 80,
        ),
    }  # fmt: skip
    found: dict[str, list[float]] = {}
    with world.pybindd() as running, _prober(running.cgroup) as probe:
        for name, (take, give, port) in changes.items():
            times = []
            for _ in range(_CHANGES // 2 if name.startswith("mv") else _CHANGES):
                probe.send((port, True))
                probe.recv()
                take()
                probe.send((port, False))
                times.append(probe.recv())
                give()
            found[name] = times
    shutil.rmtree(away, ignore_errors=True)
    return found


@contextlib.contextmanager
def _prober(cgroup: pathlib.Path) -> Iterator[Any]:
    """Yield a process of nobody that binds until a port is granted, or until it is refused."""

    def work(end: Any) -> None:
        (cgroup / "cgroup.procs").write_text("0")
        os.setgroups([])
        os.setresgid(support.GID, support.GID, support.GID)
        os.setresuid(support.UID, support.UID, support.UID)
        while (asked := end.recv()) is not None:
            began = time.monotonic()
            while _may(asked[0]) != asked[1]:
                pass
            end.send(time.monotonic() - began)

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join()


def _may(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except PermissionError:
            return False
    return True
