# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares pybind-helper with authbind's own helper, on generated permission files.

PYBIND_COMPAT_CASES sets the number of questions, PYBIND_COMPAT_SEED their seed.
tests/lib/differences.py lists the only allowed differences.
"""

import os
import pathlib
import stat

import comparing
import pytest
from ask import AUTHBIND_HELPER
from differences import DIFFERENCES

CASES = int(os.environ.get("PYBIND_COMPAT_CASES", "50000"))
SEED = int(os.environ.get("PYBIND_COMPAT_SEED", "20240229"))
CASES_FOR_COUNTS = 20000  # with fewer cases a rare difference may not occur
WORKERS = 2
WORKER = pathlib.Path(__file__).resolve().parents[2] / "lib/comparing.py"
GIVE_UP_S = 300 + CASES // 50  # many times the duration on an idle machine
pytestmark = pytest.mark.bound(2 * GIVE_UP_S)


@pytest.fixture(scope="module")
def findings():
    """Run the workers once; return the sum of their findings."""
    return comparing.run_workers(WORKER, SEED, CASES, [()] * WORKERS, GIVE_UP_S)


def _table(findings):
    """Return a table of the named differences.

    held: in how many cases the difference could count. explained: how many differing answers
    had it among their explanations. alone: how many had no other explanation.
    """
    lines = [f"seed {SEED}, {findings['cases']} cases, {dict(findings['verdicts'])}"]
    lines.append(f"{'':24}{'held':>8}{'explained':>11}{'alone':>8}")
    for name in (difference.identifier for difference in DIFFERENCES):
        counts = [findings[counter][name] for counter in ("held", "explained", "alone")]
        lines.append("{:24}{:8}{:11}{:8}".format(name, *counts))
    return "\n".join(lines)


def test_authbind_helper_is_there():
    """authbind's real helper is installed; without that helper the comparison means nothing."""
    status = pathlib.Path(AUTHBIND_HELPER).stat()
    assert status.st_uid == 0
    assert status.st_mode & stat.S_ISUID, "apt-get install --reinstall authbind"


@pytest.mark.hostile(55)
def test_only_named_differences(findings):
    """The workers found no unnamed difference, no other error than EACCES, no wrong deciding file."""
    print(_table(findings))
    assert findings["cases"] >= CASES
    comparing.assert_none_failed(findings, f"tests/lib/comparing.py {SEED} NUMBER 1 1")


def test_each_difference_is_needed(findings):
    """Each named difference occurred, and was at least once the only explanation."""
    if findings["cases"] < CASES_FOR_COUNTS:
        return
    dead = [d.identifier for d in DIFFERENCES if not findings["alone"][d.identifier]]
    assert not dead, f"never the only explanation: {dead}\n{_table(findings)}"


def test_verdicts_are_mixed(findings):
    """Each of the four pairs of answers occurs in more than 2 % of the cases."""
    if findings["cases"] < CASES_FOR_COUNTS:
        return
    shares = {name: count / findings["cases"] for name, count in findings["verdicts"].items()}
    assert len(shares) == 4
    assert min(shares.values()) > 0.02, shares
