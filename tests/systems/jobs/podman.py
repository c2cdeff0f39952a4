# SPDX-License-Identifier: GPL-3.0-or-later
"""podman with pybind outside and inside of the container, and under pybindd.

The commands are those of docs/containers.md.
"""

import pathlib
import subprocess

import pytest
import world
from world import BUSYBOX_INSIDE, IMAGE, PUBLISHED, SERVE, SERVE_INSIDE, SUPERVISED_INSIDE

HOME = "/home/alice"
SESSION = {
    "HOME": HOME,
    "XDG_RUNTIME_DIR": "/run/user/1000",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus",
}


def alice(*command):
    """Return the argv of a command in alice's session."""
    words = [f"{name}={value}" for name, value in SESSION.items()]
    return ["runuser", "-u", "alice", "--", "env", "-C", HOME, *words, *command]


def load(archive):
    """Load the image into alice's storage."""
    world.run("loginctl", "enable-linger", "alice")
    world.wait_for(lambda: pathlib.Path("/run/user/1000/bus").exists(), "alice's manager")
    world.run(*alice("podman", "import", archive, IMAGE), timeout=1200)
    # Once in each boot, outside of pybind: the setuid newuidmap(1) makes podman's user namespace.
    world.run(*alice("podman", "unshare", "true"))


def ends():
    """End alice's container."""
    world.run(*alice("podman", "rm", "-f", "-t", "0", "c"), status=None)


@pytest.fixture(autouse=True)
def nothing_left():
    """End the containers of a check."""
    yield
    ends()
    world.run("podman", "rm", "-f", "-t", "0", "c", status=None)


def published(*before, network=()):
    """Return the argv with which alice publishes port 80 of the host."""
    return alice(
        *before, "podman", "run", "--rm", "--name", "c", *network, "-p", PUBLISHED, IMAGE, *SERVE
    )


class TestPybind:
    """podman of a user and of root, with pybind."""

    @pytest.fixture(scope="class", autouse=True)
    def image(self):
        """Load the image into root's storage and into alice's."""
        archive = world.image_archive()
        world.run("podman", "import", archive, IMAGE, timeout=1200)
        load(archive)

    def test_plain_is_refused(self):
        """Rootless `podman run -p 80:8080` without pybind is refused."""
        done = subprocess.run(published(), capture_output=True, text=True, timeout=world.PATIENCE_S)
        assert done.returncode != 0
        assert "80" in done.stderr

    def test_published(self):
        """Rootless `pybind -- podman run -p 80:8080` serves."""
        world.container_serves(published("pybind", "--"))

    def test_published_one_port(self):
        """Rootless `pybind --port 80 -- podman run -p 80:8080` serves."""
        world.container_serves(published("pybind", "--port", "80/tcp", "--"))

    def test_published_detached(self):
        """Rootless `pybind -- podman run -d -p 80:8080` serves when pybind has ended."""
        world.run(
            *alice(
                "pybind", "--", "podman", "run", "-d", "--name", "c", "-p", PUBLISHED, IMAGE, *SERVE
            )
        )
        world.wait_for_page("the container")

    def test_published_by_a_unit(self):
        """A unit of the user serves a rootless container, with `podman unshare true` before it."""
        text = (
            "[Service]\nExecStartPre=/usr/bin/podman unshare true\n"
            f"ExecStart=/usr/bin/pybind -- /usr/bin/podman run --rm --replace --name c -p {PUBLISHED} "
            f"{IMAGE} {' '.join(SERVE)}\n"
        )
        unit_of_alice_serves(text)

    def test_other_port_is_refused(self):
        """Rootless, a port that was not granted is refused under pybind."""
        command = alice(
            "pybind",
            "--",
            "podman",
            "run",
            "--rm",
            "--name",
            "c",
            "-p",
            "127.0.0.1:81:8080",
            IMAGE,
            *SERVE,
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=world.PATIENCE_S)
        assert done.returncode != 0

    def test_socket_handed_on(self):
        """Rootless `pybind --listen -- podman run --network none` hands the socket into the container."""
        answer = f"HTTP/1.0 200 OK\r\n\r\n{world.PAGE}".encode()
        code = f"""
import socket
server = socket.socket(fileno=3)
while True:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall({answer!r})
"""
        command = alice("pybind", "--listen", "--port", "80", "--", "podman", "run", "--rm", "--name", "c",
                        "--network", "none", IMAGE, "python3", "-c", code)  # fmt: skip
        with world.started(command, "/run/container.log") as process:
            world.wait_for(lambda: process.poll() is not None or world.fetch(), "a page")
            said = pathlib.Path("/run/container.log").read_text(errors="replace")
            assert world.PAGE in (world.fetch() or ""), said

    @pytest.mark.parametrize("network", ["none", "host"])
    def test_pybind_inside_rootless(self, network):
        """pybind inside a rootless container, --network {}: serves in a network of its own, else says why not."""
        command = alice(
            "podman", "run", "--rm", "--network", network, "-u", "alice", IMAGE, *SERVE_INSIDE
        )
        if network == "none":
            assert "bound 80" in world.run(*command)
        else:
            assert "user namespace" in world.run(*command, status=125)

    @pytest.mark.parametrize("network", ["none", "host"])
    def test_pybind_inside_of_roots(self, network):
        """pybind inside a container of root's, --network {}: serves."""
        assert "bound 80" in world.run(
            "podman", "run", "--rm", "--network", network, "-u", "alice", IMAGE, *SERVE_INSIDE
        )

    @pytest.mark.parametrize(
        ("option", "reason"),
        [("--cap-drop=all", "bounding set"), ("--security-opt=no-new-privileges", "no_new_privs")],
        ids=["--cap-drop all", "no-new-privileges"],
    )
    def test_pybind_inside_without_rights(self, option, reason):
        """pybind inside a container of root's, {}: refused, with the reason."""
        command = ["podman", "run", "--rm", "--network", "host", option, "-u", "alice"]
        assert reason in world.run(*command, IMAGE, *SERVE_INSIDE, status=125)

    def test_supervised_inside_of_roots(self):
        """A static program, supervised inside a container of root's, serves."""
        command = ["podman", "run", "--rm", "--name", "c", "--network", "host", "-u", "alice"]
        world.container_serves([*command, IMAGE, *SUPERVISED_INSIDE])

    def test_doctor_inside(self):
        """`pybindctl doctor` inside a container of root's finds nothing broken."""
        world.run("podman", "run", "--rm", "--network", "host", IMAGE, "pybindctl", "doctor")


def unit_of_alice_serves(text):
    """Write a unit of alice's, which must serve the page, and stop it."""
    world.unit("container.service", text, user=True)
    world.run("chown", "-R", "alice:", f"{HOME}/.config")
    world.systemctl("start", "container.service", user=True)
    world.wait_for_page("the container")
    world.systemctl("stop", "container.service", user=True)


def refused(*command):
    """Run podman, which must fail with a word about permission."""
    said = world.run(*command, status=None)
    assert "ermission denied" in said, said
    assert world.free(81)


class TestPybindd:
    """Rootless podman under pybindd, without pybind in any command."""

    @pytest.fixture(scope="class", autouse=True)
    def running(self):
        """Start pybindd as a service, and load an image that has no pybind."""
        world.systemctl("start", "pybindd.service")
        load(world.image_archive(world.WITHOUT_PYBIND))

    def test_published(self):
        """`podman run -p 80:80`."""
        world.container_serves(
            alice("podman", "run", "--rm", "--name", "c", "-p", "80:80", IMAGE, *BUSYBOX_INSIDE)
        )

    def test_published_detached(self):
        """`podman run -d -p 80:80`, and `podman restart`."""
        world.run(
            *alice("podman", "run", "-d", "--name", "c", "-p", "80:80", IMAGE, *BUSYBOX_INSIDE)
        )
        world.wait_for_page("the container")
        world.run(*alice("podman", "restart", "-t", "1", "c"))
        world.wait_for_page("the container, started again")

    def test_host_network(self):
        """`podman run --network host`."""
        world.container_serves(
            alice(
                "podman", "run", "--rm", "--name", "c", "--network", "host", IMAGE, *BUSYBOX_INSIDE
            )
        )

    def test_other_port_is_refused(self):
        """A port that was not granted is refused, published or on the host's network."""
        refused(
            *alice("podman", "run", "--rm", "--name", "c", "-p", "81:80", IMAGE, *BUSYBOX_INSIDE)
        )
        inside = ["81" if word == "80" else word for word in BUSYBOX_INSIDE]
        refused(*alice("podman", "run", "--rm", "--name", "c", "--network", "host", IMAGE, *inside))

    def test_by_a_unit(self):
        """A unit of the user with `podman run -p 80:80`."""
        text = (
            "[Service]\n"
            f"ExecStart=/usr/bin/podman run --rm --replace --name c -p 80:80 {IMAGE} {' '.join(BUSYBOX_INSIDE)}\n"
        )
        unit_of_alice_serves(text)
