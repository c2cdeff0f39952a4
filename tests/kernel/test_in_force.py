# SPDX-License-Identifier: GPL-3.0-or-later
"""An administrator changes the files: the kernel's answer after each change."""

import os
import subprocess

import pytest
import support
from running import OTHER, worker
from support import CONFIG, flag, rules

from pybind import pybindd as client


def _typed(*words):
    subprocess.run(list(map(str, words)), check=True)


def test_grant_and_revoke(daemon, user):
    """grant and revoke are in force when sync returns."""
    assert not user.may()
    path = flag("byport/80")
    daemon.sync()
    assert user.may()
    assert not user.may("127.0.0.1", 81)
    path.unlink()
    daemon.sync()
    assert not user.may()


def test_without_asking(daemon, user):
    """A change takes effect even if nobody waits for it."""
    flag("byport/80")
    support.wait_for(user.may, "a grant")
    (CONFIG / "byport/80").unlink()
    support.wait_for(lambda: not user.may(), "no grant")


# (files before, typed command, whether the user may bind afterwards)
CHANGES = {
    "chmod": (lambda: flag("byport/80"), ["chmod", "0700", CONFIG / "byport/80"], False),
    "chmod-back": (
        lambda: flag("byport/80", mode=0),
        ["chmod", "0750", CONFIG / "byport/80"],
        True,
    ),
    "chown": (lambda: flag("byport/80"), ["chown", "0:0", CONFIG / "byport/80"], False),
    "rm": (lambda: flag("byport/80"), ["rm", CONFIG / "byport/80"], False),
    "setfacl": (
        lambda: flag("byport/80", mode=0o700),
        ["setfacl", "-m", f"u:{support.UID}:x", CONFIG / "byport/80"],
        True,
    ),
    "setfacl-off": (
        lambda: flag("byport/80"),
        ["setfacl", "-m", f"u:{support.UID}:-", CONFIG / "byport/80"],
        False,
    ),
    "append": (
        lambda: rules(f"byuser/{support.UID}", "any,81"),
        ["sh", "-c", f"echo any,80 >>{CONFIG}/byuser/{support.UID}"],
        True,
    ),
    "edit": (
        lambda: rules(f"byuser/{support.UID}", "any,80"),
        ["sed", "-i", "s/80/81/", CONFIG / f"byuser/{support.UID}"],
        False,
    ),
    "break": (
        lambda: rules(f"byuser/{support.UID}", "any,80"),
        ["sh", "-c", f"echo any,8o >>{CONFIG}/byuser/{support.UID}"],
        False,
    ),
    "truncate": (
        lambda: rules(f"bygroup/{support.GID}", "any,80"),
        ["truncate", "-s", "0", CONFIG / f"bygroup/{support.GID}"],
        False,
    ),
    "rename-in": (
        lambda: flag("byport/x"),
        ["mv", CONFIG / "byport/x", CONFIG / "byport/80"],
        True,
    ),
    "rename-out": (lambda: flag("byport/80"), ["mv", CONFIG / "byport/80", "/etc/80"], False),
    "folder-away": (lambda: flag("byport/80"), ["mv", CONFIG, "/etc/pybind.old"], False),
    "folder-of-four": (
        lambda: flag("byport/80"),
        ["mv", CONFIG / "byport", CONFIG / "byport.old"],
        False,
    ),
    "folder-writable": (lambda: flag("byport/80"), ["chmod", "0777", CONFIG / "byaddr"], False),
    "etc-writable": (lambda: flag("byport/80"), ["chmod", "g+w", "/etc"], False),
    "folder-given": (lambda: flag("byport/80"), ["chown", "1", CONFIG], False),
    "symlink": (
        lambda: flag("byport/80"),
        ["sh", "-c", f"cd {CONFIG}/byport && mv 80 /etc/80 && ln -s /etc/80 80"],
        False,
    ),
    "own-acl-folder": (
        lambda: flag("byport/80"),
        ["setfacl", "-m", f"u:{support.UID}:-", CONFIG],
        False,
    ),
}


@pytest.fixture
def etc():
    """Restore /etc after the test."""
    yield
    os.chmod("/etc", 0o755)
    for name in ("80", "pybind.old"):
        _typed("rm", "-rf", f"/etc/{name}")
    _typed("setfacl", "-b", "/etc")


@pytest.mark.parametrize("name", CHANGES)
def test_change(daemon, user, etc, name):
    """The typed command is in force when sync returns."""
    prepare, command, granted = CHANGES[name]
    prepare()
    before = daemon.sync()
    assert user.may() != granted
    _typed(*command)
    after = daemon.sync()
    assert user.may() == granted, daemon.log
    assert after["table"] > before["table"]


def test_many_files(daemon, user):
    """A thousand files take effect together, and end together."""
    for port in range(1, 512):
        flag(f"byport/{port}")
    for port in range(1, 512):
        flag(f"byaddr/127.0.0.1,{port},udp")
    said = daemon.sync()
    assert said["flag_files"] == 1022
    assert all(user.may("127.0.0.1", port) for port in (1, 80, 511))
    for port in range(1, 512):
        (CONFIG / f"byport/{port}").unlink()
    daemon.sync()
    assert not user.may("127.0.0.1", 80)
    assert user.may("127.0.0.1", 80, "udp")


def test_other_user(daemon, user):
    """A user's rule file grants nothing to another user."""
    rules(f"byuser/{support.UID}", "127.0.0.1,80/tcp")
    daemon.sync()
    with worker(daemon.cgroup, OTHER) as other:
        assert user.may()
        assert not other.may()
        assert not user.may("127.0.0.2")
        assert not user.may("127.0.0.1", 80, "udp")


def test_hangup_reads_again(daemon):
    """SIGHUP makes pybindd read all files again; without a change the table stays."""
    flag("byport/80")
    first = daemon.sync()
    daemon.process.send_signal(1)
    support.wait_for(lambda: client.sync()["table"] > first["table"], "another table")


def test_ends_cleanly(daemon, user):
    """After SIGTERM no grant and no file in /run but the lock remain; the status is 0."""
    flag("byport/80")
    daemon.sync()
    assert user.may()
    assert client.status()["in_force"]
    assert daemon.stop() == 0
    assert not user.may()
    assert client.status() is None
    assert client.sync() is None
    assert sorted(p.name for p in support.pathlib.Path("/run").glob("pybindd*")) == ["pybindd.lock"]
