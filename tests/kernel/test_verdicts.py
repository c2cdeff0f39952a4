# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's verdicts on very many questions: are they those of the permission files?

On generated files and processes the kernel is compared with pybind-helper and the manual.
PYBIND_KERNEL_CASES sets the number of questions, PYBIND_KERNEL_SEED their seed.
tests/lib/differences.py lists the only allowed differences.

Then very many binds run while the files change: each verdict fits a state that the files had.
PYBIND_SOAK_KERNEL sets the number of binds, PYBIND_SOAK_CHANGES that of changes.
"""

import bisect
import contextlib
import os
import pathlib
import random
import re
import subprocess
import time

import cgroups
import comparing
import pytest
import support
from differences import KERNEL_DIFFERENCES
from running import OTHER, USER, bind_error, worker
from support import CONFIG

CASES = int(os.environ.get("PYBIND_KERNEL_CASES", "50000"))
SEED = int(os.environ.get("PYBIND_KERNEL_SEED", "20261126"))
CASES_FOR_COUNTS = 20000
WORKERS = 8  # more than processors: a worker mostly waits for the kernel
WORKER = pathlib.Path(__file__).with_name("judging.py")
GIVE_UP_S = 300 + CASES // 50


@pytest.fixture(scope="module")
def findings():
    """Run the workers once; return the sum of their findings."""
    with contextlib.ExitStack() as stack:
        groups = [(stack.enter_context(cgroups.group()),) for _ in range(WORKERS)]
        return comparing.run_workers(WORKER, SEED, CASES, groups, GIVE_UP_S)


@pytest.mark.bound(GIVE_UP_S + 60)
def test_only_named_differences(findings):
    """The kernel grants the same as helper and manual, but for the named differences."""
    print(f"seed {SEED}, {findings['cases']} cases, {dict(findings['verdicts'])}")
    print(dict(findings["explained"]))
    assert findings["cases"] >= CASES
    comparing.assert_none_failed(findings, f"tests/kernel/judging.py {SEED} NUMBER 1 1 CGROUP")


def test_verdicts_are_mixed(findings):
    """Every kind of answer is frequent enough to make the comparison meaningful."""
    if findings["cases"] < CASES_FOR_COUNTS:
        return
    shares = {name: count / findings["cases"] for name, count in findings["verdicts"].items()}
    assert "kernel True, helper False" not in shares
    assert shares.pop("kernel False, helper True") > 0.003, shares
    assert len(shares) == 4, shares
    assert min(shares.values()) > 0.02, shares
    assert set(findings["explained"]) == {"kernel-left", "kernel-others"}


def test_manual_has_the_list():
    """pybindd.8 lists exactly the differences of tests/lib/differences.py."""
    page = (support.REPOSITORY / "man/pybindd.8").read_text()
    assert re.findall(r"^\.It Sy (kernel-[a-z-]+)", page, re.MULTILINE) == [
        d.identifier for d in KERNEL_DIFFERENCES
    ]


BINDS = int(os.environ.get("PYBIND_SOAK_KERNEL", "20000"))
CHANGES = int(os.environ.get("PYBIND_SOAK_CHANGES", "100"))
SOAK_SEED = 20261126
PORTS = range(60, 80)
BATCH = 500
SOAK_GIVE_UP_S = 300 + CHANGES


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


@pytest.mark.bound(SOAK_GIVE_UP_S)
def test_soak(daemon):
    """Each verdict is that of the old or new files, and another user is never granted."""
    rng = random.Random(SOAK_SEED)
    lines = {port: Timeline() for port in PORTS}
    for port in PORTS:
        if port % 5 in (1, 2):
            _flag(port, False)
    daemon.sync()
    done = {"binds": 0, "changes": 0, "wrong": []}
    with worker(daemon.cgroup, USER) as user, worker(daemon.cgroup, OTHER) as other:
        for each in (user, other):
            each.send(_bind_many, SOAK_SEED, BATCH)
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
