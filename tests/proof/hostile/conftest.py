# SPDX-License-Identifier: GPL-3.0-or-later
"""Every case runs as two users, and a normal request must work afterwards."""

import os
import pathlib
import subprocess

import hostile
import launching
import pytest
import support


@pytest.fixture(params=[support.UID, support.OTHER_UID], ids="uid{}".format)
def uid(request):
    """Return the attacker's uid."""
    return request.param


@pytest.fixture(autouse=True)
def works_afterwards(empty_config):
    """Check after each case that no helper is left and that a normal request is granted."""
    yield
    support.clear_config()
    for uid in (support.UID, support.OTHER_UID):
        support.rules(f"byuser/{uid}", "any,80")
        hostile.as_uid(uid, hostile.bind_works)
    ps = ["/bin/ps", "-C", "pybind-helper"]
    support.wait_for(
        lambda: subprocess.run(ps, stdout=subprocess.DEVNULL).returncode == 1,
        "no helper to be left",
    )


@pytest.fixture(params=[0, 1], ids="own uid {}".format)
def own_uid(request):
    """Return an attacker's uid that no other sandbox has, because the kernel counts by uid."""
    return (1 << 20) + os.stat("/proc/self/ns/net").st_ino % (1 << 30) * 2 + request.param


@pytest.fixture
def own_grant(own_uid):
    """Grant that attacker port 80, on every address."""
    return support.rules(f"byuser/{own_uid}", "any,80")


@pytest.fixture
def grant(uid):
    """Grant the attacker port 80, on every address."""
    return support.rules(f"byuser/{uid}", "any,80")


@pytest.fixture(scope="session")
def while_binding():
    """Return a program that forks, executes or is cancelled while a thread binds."""
    return launching.build(pathlib.Path(__file__).resolve().parent / "src/while_binding.c")


@pytest.fixture(scope="session")
def naive():
    """Return the naive target, on which an attack succeeds."""
    return hostile.compile_naive()
