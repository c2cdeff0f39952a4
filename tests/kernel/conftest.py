# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of pybindd."""

import pytest
import running
from support import flag


@pytest.fixture
def daemon():
    """Run a pybindd that serves a control group of its own."""
    with running.pybindd() as started:
        yield started


@pytest.fixture
def user(daemon):
    """Yield a process of an ordinary user in that group."""
    with running.worker(daemon.cgroup) as made:
        yield made


@pytest.fixture
def granted(daemon, user):
    """Let the user bind port 80."""
    flag("byport/80")
    daemon.sync()
    assert user.may()
    return user
