# SPDX-License-Identifier: GPL-3.0-or-later
"""A fixture that asks the installed helper as an ordinary user."""

import ast
import pathlib
import shutil

import pytest
import support

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def asker():
    """Copy the driver and the package to where UID can read them."""
    folder = support.scratch_dir()
    shutil.copytree(HERE.parent.parent / "pybind", folder / "pybind")
    for source in (HERE / "asker.py", HERE.parent / "lib/wire.py"):
        shutil.copy(source, folder)
    return folder


@pytest.fixture
def ask(asker):
    """Return ask(*requests, uid=..., gid=..., groups=...) -> answers."""

    def asking(*requests, prefix=(), **who):
        done = support.run(
            [*prefix, f"PYBIND_PACKAGE={asker}", "/usr/bin/python3", asker / "asker.py"],
            input=repr(list(requests)),
            **who,
        )
        assert done.returncode == 0, done.stderr
        answers = ast.literal_eval(done.stdout)
        return answers[0] if len(answers) == 1 else answers

    return asking
