# SPDX-License-Identifier: GPL-3.0-or-later
"""SECURITY.md names tests: each of them must be there."""

import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "SECURITY.md").read_text()
PATHS = sorted(set(re.findall(r"`(tests/[\w/.]+?)(?:::\w+)?`", TEXT)))
FUNCTIONS = sorted(set(re.findall(r"(?:`|::)(test_\w+)`", TEXT)))
ALL_TESTS = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", PATHS)
def test_path_is_there(path):
    """Each file and folder."""
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_there(name):
    """Each test."""
    assert f"def {name}(" in ALL_TESTS


def test_each_promise_names_a_test():
    """P1 to P5 are each held by something."""
    promises = re.split(r"\n- \*\*P\d\.\*\*", TEXT.partition("## What is not promised")[0])[1:]
    assert len(promises) == 5
    assert all("*Held by*" in promise and "`tests/" in promise for promise in promises)
