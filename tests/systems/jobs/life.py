# SPDX-License-Identifier: GPL-3.0-or-later
"""The package's life up to a reboot: installed, used, and four servers set up to come back."""

import pathlib

import pytest
import world

CAPABILITY = "cap_net_bind_service=p"


@pytest.fixture(scope="session", autouse=True)
def package():
    """Replace the fixture that installs the package: this job tests the installation."""


def serve_on(port):
    """Return the command line of a server."""
    return f"/usr/bin/pybind --port {port} -- {world.PYTHON.replace(' 80 ', f' {port} ')}"


def test_installed():
    """apt-get installs it; the helper has its capability."""
    world.install()
    assert CAPABILITY in world.run("getcap", world.HELPER)


def test_doctor():
    """`pybindctl doctor` finds nothing broken."""
    world.run("pybindctl", "doctor")


def test_refused_at_first():
    """A user without a grant is told what to ask for."""
    world.refused("pybind --port 80 -- true", "pybindctl grant alice 80")


def test_granted():
    """After `pybindctl grant` the same user serves."""
    world.run("pybindctl", "grant", "--yes", "alice", "80", "81", "82", "83")
    assert "80" in world.run("pybindctl", "list")
    world.serves(world.as_alice(serve_on(80)))


def test_set_up_for_the_reboot():
    """A service, a unit of the user, a line of the user's crontab and a SysV script are set up."""
    world.unit(
        "server.service",
        f"[Service]\nUser=alice\nExecStart={serve_on(80)}\n[Install]\nWantedBy=multi-user.target\n",
    )
    world.systemctl("enable", "server.service")
    world.run("loginctl", "enable-linger", "alice")
    world.wait_for(lambda: pathlib.Path("/run/user/1000/bus").exists(), "alice's manager")
    world.unit(
        "own.service",
        f"[Service]\nExecStart={serve_on(81)}\n[Install]\nWantedBy=default.target\n",
        user=True,
    )
    world.run("chown", "-R", "alice:", "/home/alice/.config")
    world.systemctl("enable", "own.service", user=True)
    world.login("alice", f"echo '@reboot {serve_on(82)}' | crontab -")
    script = pathlib.Path("/etc/init.d/old-server")
    script.write_text(SCRIPT.format(command=serve_on(83)))
    script.chmod(0o755)
    world.run("update-rc.d", "old-server", "defaults")


SCRIPT = """#!/bin/sh
### BEGIN INIT INFO
# Provides:          old-server
# Required-Start:    $network
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: a server
### END INIT INFO
case "$1" in
start) start-stop-daemon --start --background --make-pidfile --pidfile /run/old-server.pid \\
    --chuid alice --startas /bin/sh -- -c 'exec {command}' ;;
stop) start-stop-daemon --stop --oknodo --remove-pidfile --pidfile /run/old-server.pid --user alice ;;
esac
"""
