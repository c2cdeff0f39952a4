# SPDX-License-Identifier: GPL-3.0-or-later
"""The package's life: installed, used, and after a reboot, up to the purge."""

import pathlib

import pytest
import world

CAPABILITY = "cap_net_bind_service=p"
CONFIG = pathlib.Path("/etc/pybind")
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


@pytest.fixture(scope="session", autouse=True)
def package():
    """Replace the fixture that installs the package: this job tests the installation."""


def serve_on(port):
    """Return the command line of a server."""
    return f"/usr/bin/pybind --port {port} -- {world.PYTHON.replace(' 80 ', f' {port} ')}"


class TestBeforeTheReboot:
    """Installed and used; four servers are set up to come back."""

    def test_installed(self):
        """apt-get installs it; the helper has its capability."""
        world.install()
        assert CAPABILITY in world.run("getcap", world.HELPER)

    def test_doctor(self):
        """`pybindctl doctor` finds nothing broken."""
        world.run("pybindctl", "doctor")

    def test_refused_at_first(self):
        """A user without a grant is told what to ask for."""
        world.refused("pybind --port 80 -- true", "pybindctl grant alice 80")

    def test_granted(self):
        """After `pybindctl grant` the same user serves."""
        world.run("pybindctl", "grant", "--yes", "alice", "80", "81", "82", "83")
        assert "80" in world.run("pybindctl", "list")
        world.serves(world.as_alice(serve_on(80)))

    def test_set_up_for_the_reboot(self):
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


def usable():
    """Check that the helper has its capability and that alice can bind."""
    assert CAPABILITY in world.run("getcap", world.HELPER)
    world.login("alice", "pybind --port 443/tcp -- true")


def apt(*words):
    """Run apt-get without questions."""
    world.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", *words)


@pytest.fixture(scope="session")
def newer(tmp_path_factory):
    """Return the path of the same package with a later version."""
    folder = tmp_path_factory.mktemp("newer")
    world.run("dpkg-deb", "-R", world.package(), folder / "tree")
    control = folder / "tree/DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text(
        "".join(f"{line}+later\n" if line.startswith("Version:") else line + "\n" for line in lines)
    )
    world.run("dpkg-deb", "-b", folder / "tree", folder / "newer.deb")
    folder.chmod(0o755)
    return folder / "newer.deb"


class TestAfterTheReboot:
    """From the servers that came back to the purge."""

    @pytest.mark.parametrize(
        "port", [80, 81, 82, 83],
        ids=["a service", "a user's unit, with lingering,", "a user's crontab (@reboot)", "a SysV script"],
    )  # fmt: skip
    def test_served_after_the_reboot(self, port):
        """After a reboot {} serves."""
        world.wait_for(
            lambda: world.fetch(f"http://127.0.0.1:{port}/") is not None,
            f"the server on port {port}",
        )
        assert world.holder(port)[::2] == ("alice", 0)

    def test_four_servers_end(self):
        """They end."""
        world.systemctl("disable", "--now", "server.service")
        world.systemctl("disable", "--now", "own.service", user=True)
        world.run("update-rc.d", "old-server", "remove")
        world.login("alice", "crontab -r")
        world.run("pkill", "-u", "alice", "-f", "http.server", status=None)
        world.wait_for(lambda: all(map(world.free, (80, 81, 82, 83))), "the ports to be free")
        world.run("pybindctl", "grant", "--yes", "alice", "443/tcp")

    def test_reinstalled(self):
        """Reinstalled, it works."""
        apt("install", "--reinstall", world.package())
        usable()

    def test_upgraded_under_a_server(self, newer):
        """An upgrade does not end a running server, and new ones start."""
        with world.started(world.as_alice(serve_on(80))):
            world.wait_for(world.fetch, "the server")
            apt("install", newer)
            assert world.PAGE in world.fetch()
        usable()
        world.run("pybindctl", "doctor")

    def test_downgraded(self):
        """Downgraded, it works."""
        apt("install", "--allow-downgrades", world.package())
        usable()

    def test_removed(self):
        """Removed, it leaves the grants and nothing with a capability."""
        apt("remove", "pybind-ports")
        assert not pathlib.Path(world.HELPER).exists()
        assert any(CONFIG.rglob("*"))
        apt("install", world.package())
        usable()

    def test_purged(self):
        """Purged, it leaves no file of its own, and dpkg is content."""
        apt("purge", "pybind-ports")
        for path in (
            "/usr/libexec/pybind",
            "/usr/lib/pybind",
            "/usr/share/pybind",
            "/usr/bin/pybind",
        ):
            assert not pathlib.Path(path).exists()
        world.run("dpkg", "--audit")
