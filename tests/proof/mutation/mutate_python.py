# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts each fault of mutants_python.py into pybindctl and shows that its test notices.

    tools/sandbox /usr/bin/python3 tests/proof/mutation/mutate_python.py [NUMBER | FIRST/STEP]...

FIRST/STEP: every STEPth mutant from FIRST on. The fault is put into the installed package and
into a copy of the repository, from which the tests run: some tests call pybindctl, others
import it. Prints a line for each survivor and a line of JSON. Exits 1 if a mutant survives or
does not apply.
"""

import json
import os
import pathlib
import subprocess
import sys

from mutants_python import MUTANTS
from mutate import PYTEST, REPOSITORY, choose, make_tree, support

INSTALLED = pathlib.Path(support.PREFIX) / "share/pybind/pybind"


def write(mutant, folder, text):
    """Write a module into the installed package and into the copy."""
    for place in (INSTALLED, folder / "pybind"):
        (place / mutant.file).write_text(text)


def fails(nodes, folder):
    """Run tests from the copy; tell whether one failed."""
    done = subprocess.run(
        [*PYTEST, *nodes],
        cwd=folder,
        env=dict(os.environ, PYBIND_PATIENCE="30"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    if done.returncode not in (0, 1):  # 1: a test failed; others: none ran
        raise AssertionError(f"{nodes}: {done.stdout.decode()[-500:]}")
    return done.returncode == 1


def is_noticed(mutant, folder):
    """Tell whether the killer fails with the fault; raise AssertionError if it does not apply."""
    text = (REPOSITORY / "pybind" / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file}: {mutant.old!r} {text.count(mutant.old)}x"
    write(mutant, folder, text.replace(mutant.old, mutant.new))
    try:
        return fails([mutant.killer], folder)
    finally:
        write(mutant, folder, text)


def main(words):
    """Try the mutants; the words choose some."""
    chosen = choose(words, len(MUTANTS))
    folder = support.scratch_dir()
    make_tree(folder)
    killers = sorted({MUTANTS[number].killer for number in chosen})
    assert not fails(killers, folder), "a test fails without any mutant"
    alive = [number for number in chosen if not is_noticed(MUTANTS[number], folder)]
    for number in alive:
        mutant = MUTANTS[number]
        print(f"{number}: {mutant.file}: {mutant.old!r} -> {mutant.new!r}: {mutant.killer}")
    result = {
        "listed": len(MUTANTS),
        "mutants": len(chosen),
        "killed": len(chosen) - len(alive),
        "alive": alive,
    }
    print(json.dumps(result))
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
