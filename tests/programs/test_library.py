# SPDX-License-Identifier: GPL-3.0-or-later
"""The preload library by itself: the variables that it reads and changes, and what it asks.

The tests set the variables themselves, because pybind writes only well-formed ones. The last
tests are about the refused binds that the library asks the helper about. A real kernel
refuses few of these, so src/library.c plays a kernel that refuses every bind with EACCES.
PYBIND_VERBOSE=1 shows whether a helper was asked.
"""

import errno
import pathlib
import re
import socket
import struct

import pytest
import support
from launching import build_library

from pybind import _wire, plan
from pybind.model import Address

pytestmark = pytest.mark.usefixtures("grant80")

BIND = """
import socket, sys
host = sys.argv[1]
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
try:
    sock.bind((host, 80))
    print("bound")
except OSError as error:
    print(error.errno)
"""
IPV4, IPV6, MAPPED = "127.80.0.1", "::1", "::ffff:127.80.0.1"
BOUND, REFUSED = "bound\n", "13\n"
OURS = support.LIBRARY
LIBM = str(next(pathlib.Path("/lib").glob("*-linux-gnu/libm.so.6")))
SAME_LENGTH = LIBM.rjust(len(OURS), "/")
LONGEST = 8191


def bind(host, *variables, preload=OURS):
    """Run a program in an environment that binds port 80 of HOST; return its output."""
    return support.run([f"LD_PRELOAD={preload}", *variables, "/usr/bin/python3", "-c", BIND, host])


def environment_of(*variables):
    """Return a program's environment after the library has read it."""
    done = support.run(["--ignore-environment", *variables, "/usr/bin/env"])
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("before", "after", "covered"),
    [
        ("3", "2", True), ("10", "09", True), ("100", "099", True), ("09", "08", True),
        ("1", "0", False), ("01", "00", False), ("0", "0", False), ("00", "00", False),
        ("", "", True), ("x", "x", True), ("1x", "1x", True), ("-1", "-1", True),
    ],
)  # fmt: skip
def test_depth_counts_down(before, after, covered):
    """The depth keeps its width; at zero the library leaves LD_PRELOAD; bad text is kept."""
    found = environment_of(f"LD_PRELOAD={OURS}", f"PYBIND_DEPTH={before}")
    assert found == {"PYBIND_DEPTH": after, **({"LD_PRELOAD": OURS} if covered else {})}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{OURS}:{LIBM}", LIBM),
        (f"{LIBM}:{OURS}", LIBM),
        (f"{OURS} {LIBM}", LIBM),
        (f"{LIBM} {OURS}", LIBM),
        (f"{LIBM}: {OURS} :", LIBM),
        (f"{OURS}:{LIBM}:{OURS}", LIBM),
        (f"{LIBM}:{OURS}:{SAME_LENGTH}", f"{LIBM}:{SAME_LENGTH}"),
        (f"{SAME_LENGTH} {OURS}", SAME_LENGTH),
        (f"{OURS}:{OURS}", None),
        (f":{OURS} ", None),
    ],
)
def test_only_our_library_leaves(before, after):
    """The last covered program keeps every other preload library, in order."""
    found = environment_of(f"LD_PRELOAD={before}", "PYBIND_DEPTH=1")
    assert found.get("LD_PRELOAD") == after


def test_names_that_only_begin_alike():
    """A variable whose name only begins like one of ours is ignored."""
    alike = {"PYBIND_DEPTHS": "1", "LD_PRELOADED": OURS, "PYBIND_DEPT": "1"}
    written = [f"{name}={value}" for name, value in alike.items()]
    assert environment_of(f"LD_PRELOAD={OURS}", "PYBIND_DEPTH=1", *written) == {
        "PYBIND_DEPTH": "0", **alike
    }  # fmt: skip
    assert bind(IPV4, "PYBIND_PORTS_OF_MINE=0051t*").stdout == BOUND


SERVED = {
    IPV4: ["0050t*", "0050b*", "0051t*,0050t*", "0050t47f500001", "0050t47f500002,0050b47f500001"],
    IPV6: ["0050t*", "0050t6" + "0" * 31 + "1"],
    MAPPED: ["0050t*", "0050t47f500001"],
}
NESTED = {IPV4: ["0050t*|0050t*", "0051t*,0050b*|0050t*", "0050t*|0050t47f500001|0050b*"]}
NOT_SERVED = {
    IPV4: [
        "", ",", "|", "0050", "0050t", "0051t*", "0050u*", "0050x*", "0050t47f500002",
        "0050t47f50000", "0050t47f5000010", "0050t57f500001", "0050t4", "0050t6" + "0" * 32,
        "0050t6", "0050t*|0051t*", "0051t*|0050t*", "0050t*|", "|0050t*", "0050t*|0051t*|0050t*",
    ],
    IPV6: ["0050t47f500001", "0050t6" + "0" * 32, "0050t6" + "0" * 30, "0050t6" + "0" * 31 + "10"],
    MAPPED: ["0050t6" + "0" * 20 + "ffff7f500001", "0050t47f500002"],
}  # fmt: skip


NOT_LISTED = {
    "port": _wire.WORD_PORT,
    "protocol": _wire.WORD_PROTOCOL,
    "address": _wire.WORD_ADDRESS,
}
WELL_FORMED = re.compile(r"[0-9a-f]{4}[tub](\*|4[0-9a-f]{8}|6[0-9a-f]{32})")


def _cases(table):
    return [(host, ports) for host, lists in table.items() for ports in lists]


@pytest.mark.parametrize(("host", "ports"), _cases(SERVED) + _cases(NESTED))
def test_ports_that_list_it(host, ports):
    """A port is served if each nested list has an entry for it."""
    assert bind(host, f"PYBIND_PORTS={ports}").stdout == BOUND


@pytest.mark.parametrize(("host", "ports"), _cases(NOT_SERVED))
def test_ports_that_do_not(host, ports):
    """Another port, protocol, address or family, or a malformed list, serves nothing."""
    done = bind(host, f"PYBIND_PORTS={ports}", "PYBIND_VERBOSE=1")
    words = {_wire.WORD_TEXTS[word] + "80/tcp" for word in NOT_LISTED.values()}
    if all(
        map(WELL_FORMED.fullmatch, re.split("[,|]", ports))
    ):  # these have the words of the supervised mode
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = Address(family, socket.inet_pton(family, host), 0, 80, udp=False)
        excluded = plan.limits_exclude(ports.encode(), address)
        words = {_wire.WORD_TEXTS[NOT_LISTED[excluded]] + "80/tcp"}
    head, _, text = done.stderr.partition("): ")
    assert (done.stdout, head) == (
        REFUSED, f"pybind: bind of port 80/tcp (IPv{6 if ':' in host else 4}"
    )  # fmt: skip
    assert text.rstrip("\n") in words


def test_too_many_ports():
    """A list that does not fit serves nothing, because half of it may mean something else."""
    fits = "0050t*".ljust(LONGEST, ",")
    assert bind(IPV4, f"PYBIND_PORTS={fits}").stdout == BOUND
    assert bind(IPV4, f"PYBIND_PORTS={fits},").stdout == REFUSED


@pytest.mark.parametrize("value", ["", "0", "2"])
def test_silent_unless_told(value):
    """Only PYBIND_VERBOSE=1 makes the library write."""
    assert bind(IPV4, f"PYBIND_VERBOSE={value}").stderr == ""
    assert "granted" in bind(IPV4, "PYBIND_VERBOSE=1").stderr


@pytest.mark.parametrize(("ports", "expected"), [("0050t*", "0"), ("0051t*", "13")])
def test_bind_before_our_constructor(ports, expected):
    """A library that binds while the program is loaded is served, within the same limits."""
    preload = f"{OURS}:{build_library('EARLY')}"
    done = bind(IPV4, "EARLY=bind", f"PYBIND_PORTS={ports}", preload=preload)
    assert done.stderr == f"early: {expected}\n"


def test_environment_taken_away_before_our_constructor():
    """Nothing breaks if another library clears the environment before ours reads it."""
    preload = f"{OURS}:{build_library('EARLY')}"
    done = bind(IPV4, "EARLY=clear", "PYBIND_PORTS=0051t*", preload=preload)
    assert (done.stdout, done.stderr) == (BOUND, "")


@pytest.mark.parametrize("how", ["execve", "execvp", "posix_spawn", "posix_spawnp"])
def test_early_start(how):
    """A library may start a program before our constructor ran."""
    preload = f"{OURS}:{build_library('EARLY')}"
    done = support.run([f"LD_PRELOAD={preload}", f"EARLY={how}", "/bin/true"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")


def test_early_failures():
    """A start that fails before our constructor ran fails with the kernel's error."""
    preload = f"{OURS}:{build_library('EARLY')}"
    done = support.run([f"LD_PRELOAD={preload}", "EARLY=fail", "/bin/true"])
    assert (done.returncode, done.stderr) == (0, "early: failed\n")


# A program that removes our library: it calls os.posix_spawnp with VALUE as LD_PRELOAD and
# COUNT more variables, and the program that it starts prints its environment.
LOSES = """
import os, sys
value, count = sys.argv[1], int(sys.argv[2])
env = {"LD_PRELOAD": value, **{f"V{i}": "1" for i in range(count)}}
os.waitpid(os.posix_spawnp("env", ["env"], env), 0)
"""


@pytest.mark.parametrize(
    ("value", "count", "restored"),
    [
        (LIBM, 0, True),
        (f"{LIBM} {LIBM}", 254, True),
        (LIBM, 255, False),
        (LIBM, 2000, False),
        (f"{LIBM}:".ljust(1024 - len(OURS) - 13, ":"), 0, True),
        (f"{LIBM}:".ljust(1024 - len(OURS) - 12, ":"), 0, False),
        (f":{LIBM}:", 3, True),
        (f"{LIBM}:{OURS}", 0, False),
        (f"{OURS} {LIBM}", 0, False),
        ("", 0, False),
    ],
)  # fmt: skip
def test_library_stands_in_front_again(value, count, restored):
    """A lost library is restored, with all else unchanged, unless there is no room for it."""
    program = ["/usr/bin/python3", "-c", LOSES, value, str(count)]
    done = support.run([f"LD_PRELOAD={OURS}", *program])
    lines = done.stdout.splitlines()
    assert lines[0] == "LD_PRELOAD=" + (f"{OURS}:{value}" if restored else value)
    assert lines[1:] == [f"V{i}=1" for i in range(count)]


def test_environment_that_was_made_on_purpose():
    """Where one of our variables is gone too, a program's own LD_PRELOAD stays as it is."""
    program = ["/usr/bin/python3", "-c", LOSES, LIBM, "0"]
    done = support.run([f"LD_PRELOAD={OURS}", "PYBIND_PORTS=0050t*", *program])
    assert (done.stdout, done.stderr) == (f"LD_PRELOAD={LIBM}\n", "")


def test_no_environment():
    """A NULL environment, which Linux's execve(2) takes as empty, breaks nothing."""
    code = "import ctypes; ctypes.CDLL(None).execve(b'/usr/bin/env', (ctypes.c_char_p * 2)(b'env'), None)"
    done = support.run([f"LD_PRELOAD={OURS}", "/usr/bin/python3", "-c", code])
    assert (done.returncode, done.stdout) == (0, "")


# argv: family of the socket, address in hex. socket.bind() cannot write such addresses.
BIND_BYTES = """
import ctypes, socket, sys
sock = socket.socket(int(sys.argv[1]))
address = bytes.fromhex(sys.argv[2])
ctypes.set_errno(4242)
result = ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address))
print(result, ctypes.get_errno())
"""
REFUSAL, SUCCESS = f"-1 {int(errno.EACCES)}\n", "0 4242\n"


@pytest.fixture(scope="module")
def denies():
    """Return the library that refuses every bind."""
    return build_library("DENIES")


def bind_bytes(denies, family, address):
    """Bind a socket; return (result of bind, output of the library)."""
    environment = [f"LD_PRELOAD={support.LIBRARY}:{denies}", "PYBIND_VERBOSE=1"]
    program = ["/usr/bin/python3", "-c", BIND_BYTES, str(int(family)), address.hex()]
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
    assert bind_bytes(denies, *UNASKED[what]) == (REFUSAL, "")


ASKED = {
    "IPv4": (socket.AF_INET, ipv4(80)),
    "IPv4, with more behind it": (socket.AF_INET, ipv4(80) + bytes(12)),
    "IPv6": (socket.AF_INET6, ipv6(80)),
    "IPv6 of RFC 2133": (socket.AF_INET6, ipv6(80)[:24]),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_a_helper_is_asked_about(denies, what):
    """Control: the helper binds whole addresses."""
    said, written = bind_bytes(denies, *ASKED[what])
    assert said == SUCCESS
    assert written.endswith("): granted, /etc/pybind/byport/80\n")


def test_address_of_another_family_than_the_socket(denies):
    """The library does not know the socket's family, so it asks the helper, which refuses."""
    said, written = bind_bytes(denies, socket.AF_INET6, ipv4(80))
    assert said == REFUSAL
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
