# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's own tests, built and run on this system's kernel."""

import os
import pathlib
import re
import subprocess

import pytest
import world

FOLDERS = ("helper", "command", "programs", "supervise", "listen")
TREE = pathlib.Path("/root/tree")
PATIENCE_S = 3600


@pytest.fixture(scope="session", autouse=True)
def package():
    """Replace the fixture that installs the package: the tests use their own sandbox."""


@pytest.fixture(scope="session", autouse=True)
def tree():
    """Unpack and build the working tree."""
    TREE.mkdir()
    world.run("tar", "-xf", world.FILES / "tree.tar", "-C", TREE)
    world.run("git", "init", "-q", TREE)
    world.run("make", "-C", TREE, timeout=PATIENCE_S)


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder(folder):
    """tests/{}."""
    command = [
        "tools/sandbox",
        "/usr/bin/python3",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
    ]
    done = subprocess.run(
        [*command, f"tests/{folder}"],
        cwd=TREE,
        text=True,
        capture_output=True,
        timeout=PATIENCE_S,
        env={**os.environ, "PYBIND_PATIENCE": "600"},
    )
    print(done.stdout[-20000:])
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    assert done.returncode == 0, f"{done.stdout.strip().splitlines()[-1]}: {' '.join(failed)}"
