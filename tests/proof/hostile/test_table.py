# SPDX-License-Identifier: GPL-3.0-or-later
"""Every case has a test, and docs/hostile.md names exactly these tests."""

import json
import os
import re
import subprocess
import sys

import pytest
import support
from casetable import CASES, GROUPS, HEAD, RELIABILITY

ROW = re.compile(r"^\| (R?\d+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


@pytest.fixture(autouse=True)
def works_afterwards():
    """Replace the fixture of this folder: nothing is attacked here."""


@pytest.fixture(scope="module")
def shown():
    """Return {case: [tests]}, found by a collection of all tests."""
    names = support.scratch_dir() / "names"
    environ = {**os.environ, "PYTHONPATH": str(support.REPOSITORY / "tests/proof/hostile")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "casetable",
               "--collect-only", "--hostile-names", names, "tests"]  # fmt: skip
    done = subprocess.run(
        command, cwd=support.REPOSITORY, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(names.read_text())


def test_every_case_has_a_test(shown):
    """Each number is in one group, and each test shows a known number."""
    assert sorted(CASES) == sorted(number for some in GROUPS.values() for number in some)
    wanted = {str(number) for number in CASES} | {f"R{number}" for number in RELIABILITY}
    assert set(shown) == wanted


def test_document_is_up_to_date(shown):
    """docs/hostile.md has every case with its words and tests; make test-hostile writes it."""
    text = (support.REPOSITORY / "docs/hostile.md").read_text()
    rows = {case: rest for case, *rest in ROW.findall(text)}
    cases = {**{str(n): case for n, case in CASES.items()},
             **{f"R{n}": case for n, case in RELIABILITY.items()}}  # fmt: skip
    assert set(rows) == set(cases)
    for number, (attack, required, tests, result) in rows.items():
        case = cases[number]
        assert (attack, required) == (
            case.attack, case.required + (f" ({case.note})" if case.note else "")
        ), number  # fmt: skip
        assert re.findall(r"`(.*?)`", tests) == shown[number], number
        assert "passed" in result, number
        assert "failed" not in result, number
    assert text.startswith(HEAD.partition("{kernel}")[0])
