# SPDX-License-Identifier: GPL-3.0-or-later
"""Very many binds while the files change: each verdict fits a state that the files had.

PYBIND_SOAK_KERNEL sets the number of binds, PYBIND_SOAK_CHANGES that of changes.
"""

import bisect
import os
import random
import subprocess
import time

import pytest
import support
from running import OTHER, USER, bind_error, worker
from support import CONFIG

BINDS = int(os.environ.get("PYBIND_SOAK_KERNEL", "20000"))
CHANGES = int(os.environ.get("PYBIND_SOAK_CHANGES", "100"))
SEED = 20261126
PORTS = range(60, 80)
BATCH = 500
GIVE_UP_S = 300 + CHANGES


class Timeline:
    """The states of a port over time: from `begun` of a change both count, from `done` the new."""

    def __init__(self):
        self.begun, self.done, self.states = [0.0], [0.0], [False]

    def allowed(self, start, end):
        """Return the verdicts that a bind between these times may have had."""
        last = bisect.bisect_right(self.begun, end) - 1
        first = bisect.bisect_right(self.done, start) - 1
        return set(self.states[first : last + 1])


def _flag(port, grants):
    path = CONFIG / f"byport/{port}"
    new = CONFIG / "byport/new"
    new.touch()
    os.chown(new, 0, support.GID)
    new.chmod(0o750 if grants else 0o700)
    new.rename(path)


def _mode(port, grants):
    (CONFIG / f"byport/{port}").chmod(0o750 if grants else 0o700)


def _list(port, grants):
    path = CONFIG / f"byport/{port}"
    entry = f"u:{support.UID}:{'x' if grants else '-'}"
    subprocess.run(["setfacl", "-m", entry, path], check=True)


def _rules(port, grants):
    path = CONFIG / f"byuser/{support.UID}"
    lines = path.read_text().splitlines() if path.exists() else []
    lines = [line for line in lines if line != f"any,{port}"] + [f"any,{port}"] * grants
    new = CONFIG / "byuser/new"
    new.write_text("".join(line + "\n" for line in lines))
    new.chmod(0o644)
    new.rename(path)


def _remove(port, grants):
    if grants:
        _flag(port, True)
    else:
        (CONFIG / f"byport/{port}").unlink()


WAYS = {0: _flag, 1: _mode, 2: _list, 3: _rules, 4: _remove}


def _bind_many(seed, count):
    """Bind ports at random; return (start, end, port, granted) of each."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        port = rng.choice(PORTS)
        start = time.monotonic()
        error = bind_error("127.0.0.1", port)
        found.append((start, time.monotonic(), port, error == 0))
    return found


@pytest.mark.bound(GIVE_UP_S)
def test_soak(daemon):
    """Each verdict is that of the old or new files, and another user is never granted."""
    rng = random.Random(SEED)
    lines = {port: Timeline() for port in PORTS}
    for port in PORTS:
        if port % 5 in (1, 2):
            _flag(port, False)
    daemon.sync()
    done = {"binds": 0, "changes": 0, "wrong": []}
    with worker(daemon.cgroup, USER) as user, worker(daemon.cgroup, OTHER) as other:
        for each in (user, other):
            each.send(_bind_many, SEED, BATCH)
        while done["binds"] < BINDS or done["changes"] < CHANGES:
            port = rng.choice(PORTS)
            line = lines[port]
            line.begun.append(time.monotonic())
            line.states.append(not line.states[-1])
            WAYS[port % 5](port, line.states[-1])
            daemon.sync()
            line.done.append(time.monotonic())
            done["changes"] += 1
            for each in (user, other):
                if each.answered() or done["changes"] >= CHANGES:
                    _check(each.receive(), lines if each is user else {}, done)
                    each.send(_bind_many, done["binds"], BATCH)
        for each in (user, other):
            _check(each.receive(), lines if each is user else {}, done)
    print(
        f"soak kernel: {done['binds']} binds, {len(done['wrong'])} wrong, {done['changes']} changes"
    )
    assert not done["wrong"], done["wrong"][:5]
    assert 0 < done["granted"] < done["binds"]


def _check(found, lines, done):
    for start, end, port, granted in found:
        allowed = lines[port].allowed(start, end) if lines else {False}
        if granted not in allowed:
            done["wrong"].append((port, granted, start, end))
        done["granted"] = done.get("granted", 0) + granted
    done["binds"] += len(found)
