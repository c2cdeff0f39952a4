# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends a run of all tests before the first: two files with one name, one that cannot be read."""

import collections
import os
import pathlib
import subprocess


def test_no_two_files_have_one_name():
    """pytest puts each folder on sys.path: of two modules with one name only the first is found."""
    tests = pathlib.Path(__file__).resolve().parents[1]
    names = collections.Counter(p.name for p in tests.rglob("*.py") if "src" not in p.parts)
    assert {name for name, count in names.items() if count > 1} <= {"conftest.py", "__init__.py"}


def test_each_file_can_be_collected(tmp_path):
    """One that cannot ends a run of all tests before the first."""
    tests = pathlib.Path(__file__).resolve().parents[1]
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only"]
    done = subprocess.run(
        [*command, tests], env={**os.environ, "PYBIND_SANDBOX": str(tmp_path)},
        capture_output=True, text=True, cwd=tests.parent, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
