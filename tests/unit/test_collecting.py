# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that end a run of all tests before the first test starts."""

import collections
import os
import pathlib
import subprocess


def test_no_two_files_have_one_name():
    """pytest puts each folder on sys.path, so it finds only the first of two equal names."""
    tests = pathlib.Path(__file__).resolve().parents[1]
    names = collections.Counter(p.name for p in tests.rglob("*.py") if "src" not in p.parts)
    assert {name for name, count in names.items() if count > 1} <= {"conftest.py", "__init__.py"}


def test_each_file_can_be_collected(tmp_path):
    """A file that cannot be imported would end the run."""
    tests = pathlib.Path(__file__).resolve().parents[1]
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only"]
    done = subprocess.run(
        [*command, tests], env={**os.environ, "PYBIND_SANDBOX": str(tmp_path)},
        capture_output=True, text=True, cwd=tests.parent, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
