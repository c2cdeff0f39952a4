# SPDX-License-Identifier: GPL-3.0-or-later
"""docker with pybind inside the container, as in docs/containers.md."""

import pytest
import world
from world import IMAGE, SERVE_INSIDE, SUPERVISED_INSIDE


def docker(*options):
    """Return the argv of a container that runs as alice and ends with its command."""
    return ["docker", "run", "--rm", "--init", "--name", "served", "-u", "alice", *options, IMAGE]


@pytest.fixture(scope="module", autouse=True)
def image():
    """Start docker's daemon and load the image."""
    world.run("systemctl", "start", "docker")
    world.run("docker", "import", world.image_archive(), IMAGE, timeout=600)
    yield
    world.run("systemctl", "stop", "docker", "docker.socket")


@pytest.fixture(autouse=True)
def nothing_left():
    """End the containers of a check."""
    yield
    world.run("docker", "rm", "-f", "served", status=None)


@pytest.mark.parametrize("network", ["none", "host"])
def test_pybind_inside(network):
    """pybind inside the container, --network {}."""
    assert "bound 80" in world.run(*docker("--network", network), *SERVE_INSIDE)


def test_own_network_needs_no_pybind():
    """In a network of its own, docker lets every user bind every port."""
    said = world.run(*docker("--network", "none"), "python3", "-c", world.BIND.format(port=81))
    assert "bound 81" in said


@pytest.mark.parametrize(
    ("option", "reason"),
    [("--cap-drop=all", "bounding set"), ("--security-opt=no-new-privileges", "no_new_privs")],
    ids=["--cap-drop all", "no-new-privileges"],
)
def test_pybind_inside_without_rights(option, reason):
    """pybind inside the container on the host's network, {}: refused, with the reason."""
    assert reason in world.run(*docker("--network", "host", option), *SERVE_INSIDE, status=125)


def test_supervised_is_refused():
    """A static program under docker's own seccomp profile: refused, with the option that helps."""
    assert "SYS_PTRACE" in world.run(*docker("--network", "host"), *SUPERVISED_INSIDE, status=125)


def test_supervised_with_the_option():
    """The same with --cap-add SYS_PTRACE serves."""
    world.container_serves(
        [*docker("--network", "host", "--cap-add", "SYS_PTRACE"), *SUPERVISED_INSIDE]
    )


def test_doctor():
    """`pybindctl doctor` in a container finds nothing broken with --cap-add SYS_PTRACE."""
    world.run(
        "docker",
        "run",
        "--rm",
        "--network",
        "host",
        "--cap-add",
        "SYS_PTRACE",
        IMAGE,
        "pybindctl",
        "doctor",
    )
