# SPDX-License-Identifier: GPL-3.0-or-later
"""Rootless podman under pybindd, without pybind in any command, as in docs/containers.md."""

import containers
import podman
import pytest
import world
from containers import IMAGE
from podman import alice

INSIDE = ["busybox", "httpd", "-f", "-p", "80", "-h", "/srv/www"]


@pytest.fixture(scope="module", autouse=True)
def running():
    """Start pybindd as a service, and load an image that has no pybind."""
    world.systemctl("start", "pybindd.service")
    podman.load(containers.archive(containers.WITHOUT_PYBIND))


@pytest.fixture(autouse=True)
def nothing_left():
    """End what a check started."""
    yield
    podman.ends()


def refused(*command):
    """Run podman, which must fail with a word about permission."""
    said = world.run(*command, status=None)
    assert "ermission denied" in said, said
    assert world.free(81)


def test_published():
    """`podman run -p 80:80`."""
    containers.serves(alice("podman", "run", "--rm", "--name", "c", "-p", "80:80", IMAGE, *INSIDE))


def test_published_detached():
    """`podman run -d -p 80:80`, and `podman restart`."""
    world.run(*alice("podman", "run", "-d", "--name", "c", "-p", "80:80", IMAGE, *INSIDE))
    world.wait_for(lambda: world.PAGE in (world.fetch() or ""), "the container")
    world.run(*alice("podman", "restart", "-t", "1", "c"))
    world.wait_for(lambda: world.PAGE in (world.fetch() or ""), "the container, started again")


def test_host_network():
    """`podman run --network host`."""
    containers.serves(
        alice("podman", "run", "--rm", "--name", "c", "--network", "host", IMAGE, *INSIDE)
    )


def test_other_port_is_refused():
    """A port that was not granted is refused, published or on the host's network."""
    refused(*alice("podman", "run", "--rm", "--name", "c", "-p", "81:80", IMAGE, *INSIDE))
    inside = [word.replace("80", "81") if word == "80" else word for word in INSIDE]
    refused(*alice("podman", "run", "--rm", "--name", "c", "--network", "host", IMAGE, *inside))


def test_by_a_unit():
    """A unit of the user with `podman run -p 80:80`."""
    text = (
        "[Service]\n"
        f"ExecStart=/usr/bin/podman run --rm --replace --name c -p 80:80 {IMAGE} {' '.join(INSIDE)}\n"
    )
    world.unit("container.service", text, user=True)
    world.run("chown", "-R", "alice:", f"{podman.HOME}/.config")
    world.systemctl("start", "container.service", user=True)
    world.wait_for(lambda: world.PAGE in (world.fetch() or ""), "the container")
    world.systemctl("stop", "container.service", user=True)
