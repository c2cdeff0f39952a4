# SPDX-License-Identifier: GPL-3.0-or-later
"""Every test starts with empty permission folders, has a bound, and may skip for few reasons."""

import os
import pathlib
import signal

import pytest

pytest_plugins = ["limits"]

collect_ignore = ["systems"]  # for virtual machines: make test-systems

if "PYBIND_SANDBOX" in os.environ:
    import support


def pytest_sessionstart(session):
    """Keep no connection in TIME_WAIT: it would keep its port from the next test."""
    if "PYBIND_SANDBOX" in os.environ and not session.config.option.collectonly:
        pathlib.Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("0")


# nohup(1), or & in a script, makes pytest ignore these signals, and the programs under test
# would inherit that. A handler that does nothing has the same effect, but ends at execve(2).
for _sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_sig) == signal.SIG_IGN:
        signal.signal(_sig, lambda *_: None)


@pytest.fixture(autouse=True)
def empty_config():
    """Give each test the permission folders as `make install` makes them."""
    if "PYBIND_SANDBOX" in os.environ:
        support.clear_config()


@pytest.fixture
def grant80():
    """Grant port 80 to UID's group, as an administrator does for authbind."""
    return support.flag("byport/80")


@pytest.fixture
def marked():
    """Return (path, started): a program that leaves a mark when it is started."""
    folder = support.scratch_dir()
    path = folder / "program"
    path.write_text(f"#!/bin/sh\necho ran >>{folder}/mark\n")
    path.chmod(0o755)
    return path, lambda: (folder / "mark").exists()
