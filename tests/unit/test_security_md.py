# SPDX-License-Identifier: GPL-3.0-or-later
"""Each test that SECURITY.md and docs/proof.md name exists, and figures are current."""

import importlib
import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROMISES = (REPOSITORY / "SECURITY.md").read_text()
TRIED = (REPOSITORY / "docs/proof.md").read_text()
TEXT = PROMISES + TRIED
PATHS = sorted(set(re.findall(r"`(tests/[\w/.]+?)(?:::\w+)?`", TEXT)))
FUNCTIONS = sorted(set(re.findall(r"(?:`|::)(test_\w+)`", TEXT)))
ALL_TESTS = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", PATHS)
def test_path_is_there(path):
    """Each file and folder that a page names exists."""
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_there(name):
    """Each test that a page names exists."""
    assert f"def {name}(" in ALL_TESTS


def test_each_promise_names_a_test():
    """Each promise, P1 to P9, names a test."""
    promises = re.split(r"\n- \*\*P\d\.\*\*", PROMISES.partition("## What is not promised")[0])[1:]
    assert len(promises) == 9
    assert all("*Held by*" in promise and "`tests/" in promise for promise in promises)


PROOF = (REPOSITORY / "docs/proof.txt").read_text()
# The lists of mutants and coverage exceptions follow the source and are newer than the record.
FIGURES = (
    r"^rules +ok +([\d,]+) cases",
    r"^hostile +ok +(\d+) of \1 cases",
    r"parser ([\d,]+) executions",
    r"decoder ([\d,]+) executions",
    r"^faults +ok +([\d,]+) faults in the helper, (\d+) tests",
    r"preload ([\d,]+) binds, 0 wrong; supervise ([\d,]+) binds, 0 wrong",
    r"the longest (\d+) bytes",
)


@pytest.mark.parametrize("pattern", FIGURES)
def test_figures_are_those_of_the_record(pattern):
    """docs/proof.txt, a summary of make prove, has no failure; the pages show its figures."""
    assert PROOF.endswith(" passed, 0 failed\n")
    found = re.search(pattern, PROOF, re.MULTILINE)
    assert found
    table = TRIED.partition("## What was tried")[2]
    missing = [figure for figure in found.groups() if not re.search(rf"\b{figure}\b", table)]
    assert missing == []


def test_mutants_and_exceptions_are_as_many_as_the_table_says(monkeypatch):
    """The pages show the lengths of the lists, because make prove tries every entry."""
    for folder in ("mutation", "coverage"):
        monkeypatch.syspath_prepend(str(REPOSITORY / "tests/proof" / folder))
    mutants = importlib.import_module("mutants")
    never = importlib.import_module("exceptions").NEVER
    assert f"| {len(mutants.MUTANTS)}, each noticed" in TRIED
    pythons = importlib.import_module("mutants_python").MUTANTS
    assert f"into pybindctl by hand (the same) | {len(pythons)}, each noticed" in TRIED
    assert f"; {len(mutants.EQUIVALENT)} more are argued" in TRIED
    for subject, name in (("helper", "the helper"), ("library", "the preload library")):
        row = re.search(rf"coverage of {name} by .* is argued in (\d+) entries", TRIED)
        assert row and int(row[1]) == len(never[subject])
