# SPDX-License-Identifier: GPL-3.0-or-later
"""In CI a skip that nobody expected is a failure: a plugin of pytest's that conftest.py loads."""

import os

import pytest

# What a machine may really be unable to run.
ALLOWED_SKIPS = (
    "this system makes no user namespaces",
    "this system allows a user no namespaces",
    "this kernel has no system calls",
    "this system makes no control groups",
    "this kernel cannot judge binds",
    "this kernel has no sockets",
    "this kernel has no Landlock for ports",
)


def _judge(report):
    if report.skipped and "CI" in os.environ and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"unexpected skip: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """A test that is skipped, by itself, a fixture or a mark."""
    _judge((yield).get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    """A whole file that is skipped, as by importorskip."""
    _judge((yield).get_result())
