# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the kernel with pybind-helper and the manual, on generated files and processes.

PYBIND_KERNEL_CASES sets the number of questions, PYBIND_KERNEL_SEED their seed.
tests/lib/differences.py lists the only allowed differences.
"""

import contextlib
import os
import pathlib
import re

import cgroups
import comparing
import pytest
import support
from differences import KERNEL_DIFFERENCES

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
