# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the kernel with pybind-helper and the manual, on generated files and processes.

PYBIND_KERNEL_CASES sets the number of questions, PYBIND_KERNEL_SEED their seed.
tests/lib/differences.py lists the only allowed differences.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import cgroups
import pytest
import support
from differences import KERNEL_DIFFERENCES

CASES = int(os.environ.get("PYBIND_KERNEL_CASES", "50000"))
SEED = int(os.environ.get("PYBIND_KERNEL_SEED", "20261126"))
CASES_FOR_SHARES = 20000
WORKERS = 8  # more than processors: a worker mostly waits for the kernel
WORKER = pathlib.Path(__file__).with_name("judging.py")
GIVE_UP_S = 300 + CASES // 50
COUNTERS = ("verdicts", "failure_counts", "explained")


@pytest.fixture(scope="module")
def findings():
    """Run the workers once; return the sum of their findings."""
    isolate = ["unshare", "--mount", "--net", "--propagation", "private", "--"]
    share = -(-CASES // WORKERS)
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(cgroups.group()) for _ in range(WORKERS)]
        workers = [
            subprocess.Popen(
                [*isolate, sys.executable, WORKER, *map(str, (SEED, n, WORKERS, share, group))],
                stdout=subprocess.PIPE,
            )
            for n, group in enumerate(groups)
        ]
        try:
            outputs = [worker.communicate(timeout=GIVE_UP_S)[0] for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    assert [worker.returncode for worker in workers] == [0] * WORKERS
    total = {name: collections.Counter() for name in COUNTERS}
    total.update(cases=0, failures=[])
    for found in map(json.loads, outputs):
        for name in COUNTERS:
            total[name].update(found[name])
        total["cases"] += found["cases"]
        total["failures"] += found["failures"]
    return total


@pytest.mark.bound(GIVE_UP_S + 60)
def test_only_named_differences(findings):
    """The kernel grants the same as helper and manual, but for the named differences."""
    print(f"seed {SEED}, {findings['cases']} cases, {dict(findings['verdicts'])}")
    print(dict(findings["explained"]))
    assert findings["cases"] >= CASES
    text = "\n\n".join(findings["failures"])
    command = "tools/sandbox unshare --mount --net /usr/bin/python3 tests/kernel/judging.py"
    assert not findings["failure_counts"], (
        f"{dict(findings['failure_counts'])}\n\n{text}\n\n"
        f"once more, configuration NUMBER: {command} {SEED} NUMBER 1 1 CGROUP"
    )


def test_verdicts_are_mixed(findings):
    """Every kind of answer is frequent enough to make the comparison meaningful."""
    if findings["cases"] < CASES_FOR_SHARES:
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
