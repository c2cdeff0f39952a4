# SPDX-License-Identifier: GPL-3.0-or-later
"""The package's life after the reboot, from the servers that came back to the purge."""

import pathlib

import pytest
import world
from life import CAPABILITY, serve_on

CONFIG = pathlib.Path("/etc/pybind")


@pytest.fixture(scope="session", autouse=True)
def package():
    """Replace the fixture that installs the package: it was installed before the reboot."""


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


def usable():
    """Check that the helper has its capability and that alice can bind."""
    assert CAPABILITY in world.run("getcap", world.HELPER)
    world.login("alice", "pybind --port 443/tcp -- true")


def apt(*words):
    """Run apt-get without questions."""
    world.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", *words)


@pytest.mark.parametrize(
    "port", [80, 81, 82, 83],
    ids=["a service", "a user's unit, with lingering,", "a user's crontab (@reboot)", "a SysV script"],
)  # fmt: skip
def test_served_after_the_reboot(port):
    """After a reboot {} serves."""
    world.wait_for(
        lambda: world.fetch(f"http://127.0.0.1:{port}/") is not None, f"the server on port {port}"
    )
    assert world.holder(port)[::2] == ("alice", 0)


def test_four_servers_end():
    """They end."""
    world.systemctl("disable", "--now", "server.service")
    world.systemctl("disable", "--now", "own.service", user=True)
    world.run("update-rc.d", "old-server", "remove")
    world.login("alice", "crontab -r")
    world.run("pkill", "-u", "alice", "-f", "http.server", status=None)
    world.wait_for(lambda: all(map(world.free, (80, 81, 82, 83))), "the ports to be free")
    world.run("pybindctl", "grant", "--yes", "alice", "443/tcp")


def test_reinstalled():
    """Reinstalled, it works."""
    apt("install", "--reinstall", world.package())
    usable()


def test_upgraded_under_a_server(newer):
    """An upgrade does not end a running server, and new ones start."""
    with world.started(world.as_alice(serve_on(80))):
        world.wait_for(world.fetch, "the server")
        apt("install", newer)
        assert world.PAGE in world.fetch()
    usable()
    world.run("pybindctl", "doctor")


def test_downgraded():
    """Downgraded, it works."""
    apt("install", "--allow-downgrades", world.package())
    usable()


def test_removed():
    """Removed, it leaves the grants and nothing with a capability."""
    apt("remove", "pybind-ports")
    assert not pathlib.Path(world.HELPER).exists()
    assert any(CONFIG.rglob("*"))
    apt("install", world.package())
    usable()


def test_purged():
    """Purged, it leaves no file of its own, and dpkg is content."""
    apt("purge", "pybind-ports")
    for path in ("/usr/libexec/pybind", "/usr/lib/pybind", "/usr/share/pybind", "/usr/bin/pybind"):
        assert not pathlib.Path(path).exists()
    world.run("dpkg", "--audit")
