# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of faults follow the sources: each can be put in, and its test exists."""

import importlib
import pathlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def test_each_fault_can_be_put_in(monkeypatch):
    """The text that an entry replaces occurs exactly once in its file."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/proof/mutation"))
    lists, python = map(importlib.import_module, ("mutants", "mutants_python"))
    places = [(mutant, REPOSITORY / mutant.path) for mutant in (*lists.MUTANTS, *lists.EQUIVALENT)]
    places += [(mutant, REPOSITORY / "pybind" / mutant.file) for mutant in python.MUTANTS]
    wrong = [(m.file, m.old) for m, path in places if path.read_text().count(m.old) != 1]
    assert wrong == []


def test_each_fault_names_a_test(monkeypatch):
    """Each fault names the comparison, the fuzz targets, or an existing test or file."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests/proof/mutation"))
    lists, python, mutant = map(importlib.import_module, ("mutants", "mutants_python", "mutant"))
    killers = {m.killer for m in (*lists.MUTANTS, *python.MUTANTS)}
    killers -= {mutant.COMPAT, mutant.KERNEL, mutant.FUZZ}
    missing = []
    for killer in killers:
        file, _, test = killer.partition("::")
        if test and f"def {test.partition('[')[0]}(" not in (REPOSITORY / file).read_text():
            missing.append(killer)
    assert missing == []
