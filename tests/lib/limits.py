# SPDX-License-Identifier: GPL-3.0-or-later
"""A plugin of pytest, loaded by conftest.py: no test hangs, and none is skipped in silence.

Each of a test's three phases (set-up, test, clean-up) has a bound. After the bound the phase
fails, and the failure shows where the phase waited and which processes the sandbox has. The
exception is raised again soon, in case the test catches it or the clean-up hangs. The
timer is that of setitimer(2), which no child inherits. A test that never returns to
Python is ended by tools/test, which bounds the whole run.

In CI an unexpected skip is a failure.
"""

import os
import signal
import subprocess

import pytest

DEFAULT_S = 600  # for a loaded machine; no test takes a minute on an idle one
AGAIN_S = 30
# Reasons that lie in the machine: CI accepts them.
ALLOWED_SKIPS = (
    "this system makes no user namespaces",
    "this system allows a user no namespaces",
    "this kernel has no system calls",
    "this system makes no control groups",
    "this kernel cannot judge binds",
    "this kernel has no sockets",
    "this kernel has no Landlock for ports",
)


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


def _judge(report):
    if report.skipped and "CI" in os.environ and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"unexpected skip: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """Judge a test that is skipped by itself, a fixture or a mark."""
    _judge((yield).get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    """Judge a whole file that is skipped, as by importorskip."""
    _judge((yield).get_result())
