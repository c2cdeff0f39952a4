# SPDX-License-Identifier: GPL-3.0-or-later
"""The model and the generator are those of tests/proof/compat."""

import pytest
import running


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
