# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of faults follow the sources: each can be put in, and its test exists."""

import importlib
import pathlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def test_each_fault_can_be_put_in(monkeypatch):
    """The text that an entry replaces occurs exactly once in its file."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/proof/mutation"))
    lists = importlib.import_module("mutants")
    wrong = [
        (mutant.file, mutant.old)
        for mutant in (*lists.MUTANTS, *lists.EQUIVALENT)
        if (REPOSITORY / mutant.path).read_text().count(mutant.old) != 1
    ]
    assert wrong == []


def test_each_fault_names_a_test(monkeypatch):
    """Each fault names the comparison, the fuzz targets or an existing test."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/proof/mutation"))
    lists, mutant = importlib.import_module("mutants"), importlib.import_module("mutant")
    killers = {m.killer for m in lists.MUTANTS} - {mutant.COMPAT, mutant.KERNEL, mutant.FUZZ}
    missing = []
    for killer in killers:
        file, _, test = killer.partition("::")
        if f"def {test.partition('[')[0]}(" not in (REPOSITORY / file).read_text():
            missing.append(killer)
    assert missing == []
