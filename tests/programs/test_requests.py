# SPDX-License-Identifier: GPL-3.0-or-later
"""Which refused binds the preload library asks the helper about.

src/library.c plays a kernel that refuses every bind with EACCES, because a real one
refuses few of these. PYBIND_VERBOSE=1 shows whether a helper was asked.
"""

import errno
import socket
import struct

import pytest
import support
from launching import build_library

pytestmark = pytest.mark.usefixtures("grant80")

# argv: family of the socket, address in hex. socket.bind() cannot write such addresses.
BIND = """
import ctypes, socket, sys
sock = socket.socket(int(sys.argv[1]))
address = bytes.fromhex(sys.argv[2])
ctypes.set_errno(4242)
result = ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address))
print(result, ctypes.get_errno())
"""
REFUSED, BOUND = f"-1 {int(errno.EACCES)}\n", "0 4242\n"


@pytest.fixture(scope="module")
def denies():
    """Return the library that refuses every bind."""
    return build_library("DENIES")


def bind(denies, family, address):
    """Bind a socket; return (result of bind, output of the library)."""
    environment = [f"LD_PRELOAD={support.LIBRARY}:{denies}", "PYBIND_VERBOSE=1"]
    program = ["/usr/bin/python3", "-c", BIND, str(int(family)), address.hex()]
    done = support.run([*environment, *program])
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def ipv4(port, family=socket.AF_INET):
    """Return a struct sockaddr_in of 127.80.0.1."""
    return struct.pack("=HH4s8x", family, socket.htons(port), bytes([127, 80, 0, 1]))


def ipv6(port):
    """Return a struct sockaddr_in6 of ::1."""
    return struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(port), 0, bytes(15) + b"\1", 0)


UNASKED = {
    "nothing": (socket.AF_INET, b""),
    "a family alone": (socket.AF_INET, ipv4(80)[:2]),
    "IPv4, a byte short": (socket.AF_INET, ipv4(80)[:15]),
    "IPv6 of 16 bytes": (socket.AF_INET6, ipv6(80)[:16]),
    "IPv6 of 20 bytes": (socket.AF_INET6, ipv6(80)[:20]),
    "IPv6, a byte short": (socket.AF_INET6, ipv6(80)[:23]),
    "a path": (socket.AF_UNIX, struct.pack("=H108s", socket.AF_UNIX, b"/nonexistent/socket")),
    "no family": (socket.AF_INET, ipv4(80, socket.AF_UNSPEC)),
    "another family": (socket.AF_INET, ipv4(80, socket.AF_NETLINK)),
    "IPv4, port 0": (socket.AF_INET, ipv4(0)),
    "IPv6, port 0": (socket.AF_INET6, ipv6(0)),
}


@pytest.mark.parametrize("what", UNASKED)
def test_what_no_helper_is_asked_about(denies, what):
    """For an address that no rule can grant, the refusal goes through and no helper starts."""
    assert bind(denies, *UNASKED[what]) == (REFUSED, "")


ASKED = {
    "IPv4": (socket.AF_INET, ipv4(80)),
    "IPv4, with more behind it": (socket.AF_INET, ipv4(80) + bytes(12)),
    "IPv6": (socket.AF_INET6, ipv6(80)),
    "IPv6 of RFC 2133": (socket.AF_INET6, ipv6(80)[:24]),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_a_helper_is_asked_about(denies, what):
    """Control: the helper binds whole addresses."""
    said, written = bind(denies, *ASKED[what])
    assert said == BOUND
    assert written.endswith("): granted, /etc/pybind/byport/80\n")


def test_address_of_another_family_than_the_socket(denies):
    """The library does not know the socket's family, so it asks the helper, which refuses."""
    said, written = bind(denies, socket.AF_INET6, ipv4(80))
    assert said == REFUSED
    assert "address family is not the socket's" in written


def test_busy_port_that_nobody_needs_to_grant():
    """The kernel's error for an unprivileged port goes through, and no helper starts."""
    code = "import socket; socket.socket().bind(('127.80.0.1', 8080))"
    environment = [f"LD_PRELOAD={support.LIBRARY}", "PYBIND_VERBOSE=1"]
    with socket.socket() as busy:
        busy.bind(("127.80.0.1", 8080))
        done = support.run([*environment, "/usr/bin/python3", "-c", code])
    assert done.stderr.splitlines()[-1].startswith(f"OSError: [Errno {int(errno.EADDRINUSE)}]")
    assert "pybind" not in done.stderr
