# SPDX-License-Identifier: GPL-3.0-or-later
"""No test hangs: each of its three phases (set-up, test, clean-up) has a bound.

This is a plugin of pytest, loaded by conftest.py. After the bound the phase fails, and
the failure shows where the phase waited and which processes the sandbox has. The
exception is raised again soon, in case the test catches it or the clean-up hangs. The
timer is that of setitimer(2), which no child inherits. A test that never returns to
Python is ended by tools/test, which bounds the whole run.
"""

import os
import signal
import subprocess

import pytest

DEFAULT_S = 600  # for a loaded machine; no test takes a minute on an idle one
AGAIN_S = 30


class Bound:
    """The timer of one phase of a test."""

    def __init__(self, item):
        marker = item.get_closest_marker("bound")
        own = marker.args[0] if marker else DEFAULT_S
        self.seconds = float(os.environ.get("PYBIND_BOUND") or own)

    def _over(self, _signal, _frame):
        signal.setitimer(signal.ITIMER_REAL, 0)  # ps may take a while
        ps = ["/bin/ps", "-eHo", "pid,stat,wchan:20,args"]
        tree = subprocess.run(ps, capture_output=True, text=True).stdout
        signal.setitimer(signal.ITIMER_REAL, min(self.seconds, AGAIN_S))
        pytest.fail(f"not done within its bound of {self.seconds:g} s; the processes:\n{tree}")

    def __enter__(self):
        self._handler = signal.signal(signal.SIGALRM, self._over)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)


def pytest_configure(config):
    config.addinivalue_line("markers", "bound(seconds): how long each phase of this test may take")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    with Bound(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    with Bound(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    with Bound(item):
        yield
