# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are built once, and a check that no test leaves a process."""

import launching
import pytest
import supervising
import support


@pytest.fixture(autouse=True)
def leaves_nothing():
    """Fail a test that leaves a process of UID, even a zombie; then kill the process."""
    before = set(supervising.processes())

    def left():
        return {pid: what for pid, what in supervising.processes().items() if pid not in before}

    yield
    try:
        support.wait_for(lambda: not left(), "every process to end")
    except AssertionError:
        found = left()
        # Supervisors last: they end by themselves, and their end kills their programs.
        supervising.kill_all(pid for pid, what in found.items() if "python" not in what[0])
        supervising.kill_all(left())
        raise AssertionError(f"left running: {found}") from None


@pytest.fixture(scope="session")
def agent():
    """Return the agent as a static program, which `auto` supervises."""
    return launching.build("agent.c", "-static")


@pytest.fixture(scope="session")
def dynamic_agent():
    """Return the agent as an ordinary dynamic program."""
    return launching.build("agent.c")


@pytest.fixture(scope="session")
def static_server():
    """Return src/server.c as a static program."""
    return launching.server("-static")
