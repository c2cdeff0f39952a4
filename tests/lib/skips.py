# SPDX-License-Identifier: GPL-3.0-or-later
"""A plugin of pytest, loaded by conftest.py: in CI an unexpected skip is a failure."""

import os

import pytest

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
