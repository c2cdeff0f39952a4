# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindd as a service: its unit, and the scripts for other systems."""

import os
import pathlib
import subprocess

import cgroups
import pytest
import support

from pybind import pybindd as client

SERVICES = support.REPOSITORY / "contrib/pybindd"
UNIT = pathlib.Path(support.PREFIX) / "lib/systemd/system/pybindd.service"
# Each of these options makes a mount namespace (systemd.exec(5)).
MAKES_A_NAMESPACE = (
    "Protect", "Private", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "TemporaryFileSystem",
    "DynamicUser", "RootDirectory", "RootImage", "MountAPIVFS", "ExecPaths", "NoExecPaths",
    "StateDirectory", "ExtensionImages",
)  # fmt: skip


def test_unit():
    """The unit is valid, off by default, and has three capabilities and no mount namespace."""
    done = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", UNIT], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    lines = UNIT.read_text().splitlines()
    assert "CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_NET_ADMIN" in lines
    assert f"ExecStart={support.PREFIX}/sbin/pybindd" in lines
    assert not [line for line in lines if line.startswith(MAKES_A_NAMESPACE)]
    wants = pathlib.Path("/etc/systemd/system/multi-user.target.wants")
    assert not (wants / "pybindd.service").is_symlink()


@pytest.mark.parametrize("name", ["openrc", "runit/run", "sysv"])
def test_scripts(name):
    """The scripts are executable, and shellcheck finds nothing."""
    path = SERVICES / name
    assert path.stat().st_mode & 0o111 == 0o111
    subprocess.run(["sh", "-n", path], check=True)
    subprocess.run(["shellcheck", path], check=True)


def test_sysv():
    """The init script starts, reloads and stops pybindd, and says whether it runs."""
    with cgroups.group() as cgroup:
        pathlib.Path("/etc/default").mkdir(exist_ok=True)
        settings = pathlib.Path("/etc/default/pybindd")
        settings.write_text(f"OPTIONS='--cgroup {cgroup}'\n")
        environ = {**os.environ, "DAEMON": cgroups.PYBINDD}

        def script(word):
            return subprocess.run([SERVICES / "sysv", word], env=environ).returncode

        try:
            assert script("status") == 3
            assert script("start") == 0
            support.wait_for(lambda: client.status() is not None, "pybindd to run")
            assert script("status") == 0
            before = client.sync()["table"]
            assert script("reload") == 0
            support.wait_for(lambda: client.sync()["table"] > before, "another table")
            assert script("restart") == 0
            support.wait_for(lambda: client.status() is not None, "pybindd to run again")
            assert script("stop") == 0
            assert client.status() is None
            settings.write_text("OPTIONS='--cgroup /nowhere'\n")
            assert script("start") == 1
        finally:
            script("stop")
            settings.unlink()
