# SPDX-License-Identifier: GPL-3.0-or-later
"""The model and the generator are those of tests/compat."""

import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "compat")]

import running  # noqa: E402


@pytest.fixture
def daemon():
    """Run a pybindd that serves a control group of its own."""
    with running.pybindd() as started:
        yield started


@pytest.fixture
def user(daemon):
    """Give an ordinary user's process in that group."""
    with running.worker(daemon.cgroup) as made:
        yield made
