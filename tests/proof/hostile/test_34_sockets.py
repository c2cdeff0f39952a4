# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptor 3: its kinds, its states, and who shares it."""

import array
import contextlib
import errno
import os
import resource
import socket
import struct
import subprocess
import sys

import attacked
import hostile
import launching
import pytest
import support
from hostile import ADDR, V4, V6, Helper, as_uid, ask, bind_request, granted, naive_bind

from pybind import _wire as w

KIND = hostile.refused(w.REASON_SOCKET_KIND)
FAMILY = hostile.refused(w.REASON_SOCKET_FAMILY)
STREAM, DGRAM, RAW = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM), int(socket.SOCK_RAW)
IPPROTO_UDPLITE, IPPROTO_SCTP, IPPROTO_DCCP, IPPROTO_MPTCP, SOCK_DCCP = 136, 132, 33, 262, 6
AF_ALG, AF_PACKET, AF_VSOCK, AF_NETLINK = 38, 17, 40, 16


def sin(port=80, addr=ADDR, family=V4):
    """Return a struct sockaddr_in as bytes."""
    return struct.pack("=H", family) + struct.pack("!H", port) + socket.inet_aton(addr) + bytes(8)


def sin6(port=80, addr="::1"):
    """Return a struct sockaddr_in6 as bytes."""
    packed = socket.inet_pton(V6, addr)
    return struct.pack("=H", V6) + struct.pack("!H", port) + bytes(4) + packed + bytes(4)


def open_things():
    """Return descriptors that are no sockets, by name."""
    reading, writing = os.pipe()
    return {
        "/dev/null": os.open("/dev/null", os.O_RDWR),
        "directory": os.open("/", os.O_PATH | os.O_DIRECTORY),
        "path of the helper": os.open(support.HELPER, os.O_PATH),
        "read end": reading,
        "write end": writing,
        "terminal": os.openpty()[1],
        "memory file": os.memfd_create("x"),
        "event": os.eventfd(0) if hasattr(os, "eventfd") else os.dup(reading),
        "pidfd": os.pidfd_open(os.getpid()),
    }


def test_case_34_no_sockets(uid, grant):
    """A device, directory, pipe, terminal and more in place of the socket are refused."""
    outcomes = as_uid(
        uid, lambda: {name: ask(fd)._replace(port=0) for name, fd in open_things().items()}
    )
    assert {name for name, outcome in outcomes.items() if outcome != KIND} == set()


FOREIGN = [(int(socket.AF_UNIX), kind, 0) for kind in (STREAM, DGRAM, int(socket.SOCK_SEQPACKET))]
FOREIGN += [(AF_NETLINK, RAW, 0), (AF_PACKET, RAW, 0), (AF_PACKET, DGRAM, 0), (AF_ALG, 5, 0)]


def make_socket(family, kind, protocol):
    """Make a socket as root; skip if the kernel lacks that kind."""
    try:
        return socket.socket(family, kind, protocol)
    except OSError as error:
        pytest.skip(f"this kernel has no sockets ({family}, {kind}, {protocol}): {error.strerror}")


@pytest.mark.parametrize("kind", FOREIGN, ids=str)
def test_case_35_sockets_of_other_families(uid, grant, kind):
    """AF_UNIX, netlink and packet sockets are refused by SO_DOMAIN, whatever the message says."""
    with make_socket(*kind) as sock:
        for family in (V4, V6):
            assert as_uid(uid, ask, sock, bind_request(family=family, addr="::")
                          if family == V6 else bind_request()) == KIND  # fmt: skip


def sockaddr_vm(port):
    """Return a sockaddr_vm for any CID; its reserved bytes read as sin_port 80."""
    return (
        struct.pack("=H", AF_VSOCK)
        + struct.pack("!H", 80)
        + struct.pack("=II", port, 2**32 - 1)
        + bytes(4)
    )


def test_case_36_vsock(uid, grant, naive):
    """A vsock socket is refused, although its privileged ports need the same capability."""
    with make_socket(AF_VSOCK, STREAM, 0) as sock:
        for request in (
            bind_request(),
            bind_request(addr="::"),
            bind_request(22),
            sockaddr_vm(22) + bytes(24),
        ):
            outcome = as_uid(uid, ask, sock, request)
            assert outcome.denied
            assert outcome.reason in (w.REASON_SOCKET_KIND, w.REASON_MALFORMED)
        family = bind_request(family=AF_VSOCK)
        assert as_uid(uid, ask, sock, family) == hostile.refused(w.REASON_MALFORMED)
        assert sock.getsockname()[1] == 2**32 - 1  # VMADDR_PORT_ANY: unbound
        # Control: the uid may not bind vsock port 22, but the naive target does.
        with pytest.raises(AssertionError, match="Permission denied"):
            as_uid(uid, sock.bind, (2**32 - 1, 22))
        assert as_uid(uid, naive_bind, naive, sock, sockaddr_vm(22)) == 0


@pytest.mark.parametrize(
    ("kind", "naive_error"),
    [((V4, RAW, 6), None), ((V4, RAW, 17), None), ((V4, RAW, 255), None), ((V6, RAW, 6), None),
     ((V4, DGRAM, IPPROTO_UDPLITE), 0), ((V6, DGRAM, IPPROTO_UDPLITE), 0),
     ((V4, DGRAM, 1), 0), ((V6, DGRAM, 58), 0), ((V4, STREAM, IPPROTO_SCTP), 0), ((V4, SOCK_DCCP, IPPROTO_DCCP), 0)],
    ids=str,
)  # fmt: skip
def test_case_37_other_protocols(uid, grant, naive, kind, naive_error):
    """Raw sockets, ping, UDP-Lite, SCTP and DCCP are not served."""
    with hostile.sysctl("net/ipv4/ping_group_range", "0 2147483647"), make_socket(*kind) as sock:
        request = bind_request(addr="::1" if kind[0] == V6 else ADDR)
        outcome = as_uid(uid, ask, sock, request)
        assert outcome._replace(port=0) == KIND
        assert sock.getsockname()[:2] in (("0.0.0.0", 0), ("::", 0), ("0.0.0.0", kind[2]),
                                          ("::", kind[2]))  # fmt: skip
        if naive_error is not None:  # control
            address = sin6() if kind[0] == V6 else sin()
            assert as_uid(uid, naive_bind, naive, sock, address) == naive_error


def test_case_37_protocols_that_this_kernel_lacks(uid, grant):
    """SCTP and DCCP are refused by number, even if the kernel has no such sockets."""
    for protocol in (0, 1, IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_UDPLITE, 255):
        outcome = as_uid(uid, ask, None, {"op": w.OP_CHECK, "addr": ADDR, "protocol": protocol})
        assert outcome.reason == w.REASON_SOCKET_KIND


def test_case_37_served_protocols(uid, grant):
    """TCP, UDP and MPTCP are served."""
    for kind in ((V4, STREAM, 0), (V4, DGRAM, 0), (V4, STREAM, IPPROTO_MPTCP)):
        assert as_uid(uid, lambda kind=kind: ask(socket.socket(*kind))) == granted()


def bind_twice(kind, connect):
    """Run by a uid: (outcome, same address) for a socket that already has an address."""
    with socket.socket(V4, kind) as sock, socket.create_server((ADDR, 0)) as server:
        if connect:
            sock.connect(server.getsockname())
        else:
            sock.bind((ADDR, 0))
        before = sock.getsockname()
        outcome = ask(sock)
        return outcome.reason, outcome.error, sock.getsockname() == before


@pytest.mark.parametrize("connect", [False, True], ids=["bound", "connected"])
@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_case_38_socket_with_a_name(uid, grant, kind, connect):
    """A bound or connected socket gets the kernel's EINVAL and keeps its address."""
    assert as_uid(uid, bind_twice, kind, connect) == (w.REASON_KERNEL, errno.EINVAL, True)


AF_UNSPEC_CODE = """
sock, granted = socket.socket(), socket.socket()
address = bytes(2) + sin(80, "0.0.0.0")[2:]
print(call(sock, address), name(sock), call(granted, sin(80)), name(granted))
"""


def test_case_39_unspecified_family(uid, grant, naive):
    """AF_UNSPEC with 0.0.0.0, which the kernel reads as AF_INET, is never asked or served."""
    done = attacked.under_library(uid, AF_UNSPEC_CODE)
    assert done.stdout == f"{errno.EACCES} 0 0 80\n", done.stderr
    outcome = as_uid(uid, lambda: ask(request=bind_request(family=0, addr="0.0.0.0")))
    assert outcome == hostile.refused(w.REASON_MALFORMED)
    for sock in (socket.socket(V6), socket.socket(V4)):
        other = bind_request(addr="::") if sock.family == V4 else bind_request()
        assert as_uid(uid, ask, sock, other) == FAMILY
        sock.close()
    with socket.socket() as sock:  # control
        unspecified = sin(80, "0.0.0.0", 0)
        assert as_uid(uid, naive_bind, naive, sock, unspecified) == 0


LENGTHS = """
six = struct.pack("=H", 10) + struct.pack("!H", int(sys.argv[1])) + bytes(4)
six += socket.inet_pton(10, "::1") + bytes(4)
room = bytes(128)
for family, address in ((2, sin(int(sys.argv[1]))), (10, six)):
    for length in (0, 1, 2, 8, 15, 16, 23, 24, 27, 28, 100, 128, 129, 1000, 0x7fffffff, 0xffffffff):
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        print(length, call(sock, address + room, length), name(sock))
        sock.close()
"""


def test_case_40_address_lengths(uid, grant):
    """Every address length gets the same answer as for an unprivileged port."""
    plain = attacked.under_library(uid, LENGTHS, "8080", env=["LD_PRELOAD="])
    ours = attacked.under_library(uid, LENGTHS, "80")
    assert plain.stdout.replace("8080", "80") == ours.stdout, ours.stderr
    assert "\n24 0 80\n" in ours.stdout  # RFC 2133
    assert f"\n4294967295 {errno.EINVAL} 0\n" in ours.stdout


NEVER_ASKED = """
for address in (sin(0), sin(1024), sin(8080), sin(65535), sin(0, "0.0.0.0")):
    sock = socket.socket()
    assert call(sock, address) == 0 and name(sock) >= 1024
probe = socket.socket(socket.AF_INET6)
probe.bind(("::1", 0))
local = socket.socket(socket.AF_UNIX)
local.bind("\\0never-asked")
sock = socket.socket()
assert call(sock, sin(1)) == 13 and name(sock) == 0
"""


@pytest.mark.hostile("R16")
def test_case_41_ports_that_need_no_grant(uid, grant):
    """The library asks no helper for port 0 and unprivileged ports; the helper refuses 0."""
    with attacked.counted_helper() as count:
        done = attacked.under_library(uid, NEVER_ASKED)
        assert done.returncode == 0, done.stderr
        assert count() == 1  # for the privileged port
    assert as_uid(uid, lambda: ask(request=bind_request(0))) == hostile.refused(w.REASON_PORT_ZERO)
    assert as_uid(uid, lambda: ask(request=bind_request(8080))) == hostile.refused(w.REASON_NO_RULE)


def test_case_42_address_rewritten_by_a_thread(uid, grant):
    """The library binds the address that was judged, even if a thread rewrites it."""
    flip = [launching.build("disturbed.c"), "rewritten"]
    argv = [support.PYBIND, "--port", "80", "--", *flip, "80", "500"]
    met = {"allowed": 0, "refused": 0}

    def both_met():
        """Tell whether both answers occurred; the scheduler may let the threads take turns."""
        done = support.run(argv, uid=uid, timeout=120)
        assert done.returncode == 0, done.stderr
        _, allowed, _, forbidden, _, no = done.stdout.split()
        assert (int(forbidden), int(allowed) + int(no)) == (0, 500)
        met["allowed"] += int(allowed)
        met["refused"] += int(no)
        return all(met.values())

    support.wait_for(both_met, "both answers")


def linger():
    """Return a connected socket whose close(2) waits for a peer that never reads."""
    server = socket.create_server((ADDR, 0))
    sock = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))
    sock.setblocking(True)
    return sock, (server, peer)


def close_lingering():
    """Run by a uid: (outcome, whether an ordinary closer still waits) after all others closed."""
    sock, keep = linger()
    other, keep_other = linger()
    code = f"import os; os.write(1, b'x'); os.close({other.fileno()})"
    closer = subprocess.Popen(
        [sys.executable, "-S", "-c", code], pass_fds=[other.fileno()], stdout=subprocess.PIPE
    )
    os.close(other.detach())
    assert closer.stdout.read(1) == b"x"
    helper = Helper(sock)
    helper.sock = None
    os.close(sock.detach())  # with SO_LINGER only the last close waits
    helper.send(bind_request())
    outcome = helper.outcome()
    waits = closer.poll() is None
    closer.kill()
    closer.wait()
    del keep, keep_other
    return outcome, waits


def test_case_43_lingering_socket(uid, grant):
    """A helper that is the last holder of a lingering socket with unsent data still ends."""
    outcome, waits = as_uid(uid, close_lingering)
    assert waits  # control
    assert (outcome.reason, outcome.error, outcome.status) == (w.REASON_KERNEL, errno.EINVAL, 0)


def hoard():
    """Run by a uid: use up the uid's descriptors in flight; return the sockets that hold them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    null = os.open("/dev/null", os.O_RDONLY)
    held = []
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 250))]
    while True:
        held.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        try:
            held[-1][0].sendmsg([b"x"], ancillary)
        except OSError as error:
            assert error.errno == errno.ETOOMANYREFS
            return held


def ask_while_hoarding(program):
    """Run by a uid: the results of a helper and a program while no descriptor can be sent."""
    held = hoard()
    outcome = ask()
    done = subprocess.run(program, capture_output=True, text=True, cwd="/")
    assert held
    return outcome, done.returncode, done.stdout, done.stderr


def test_case_44_descriptors_in_flight(own_uid, own_grant):
    """Binds work without descriptors in flight, because the helper inherits its socket."""
    code = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 80)); print('bound')"
    words = [support.PYBIND, "--port", "80", "--", "/usr/bin/python3", "-c", code]
    assert as_uid(own_uid, ask_while_hoarding, words) == (granted(), 0, "bound\n", "")


def test_case_44_start_of_a_supervised_program(own_uid, own_grant):
    """The supervised mode sends a descriptor, so it refuses before the start, with the reason."""
    words = [support.PYBIND, "--port", "80", "--mode", "supervise", "--", "/bin/echo", "started"]
    _, status, said, errors = as_uid(own_uid, ask_while_hoarding, words)
    assert (status, said) == (125, "")
    assert "descriptors in messages that nobody has read" in errors
    assert all(line.startswith("pybind: ") for line in errors.splitlines())


@pytest.mark.hostile("R7")
def test_case_45_processes_that_bind_at_once(uid, grant):
    """16 forked processes bind at once, and each gets the answer to its own request."""
    code = """
pids = []
for child in range(16):
    pid = os.fork()
    if pid == 0:
        for number in range(40):
            port = (80, 81, 8080)[number % 3]
            sock = socket.socket()
            address = "127.%d.%d.1" % (child, number)
            error = call(sock, sin(port, address))
            right = (13, 0) if port == 81 else (0, port)
            if (error, name(sock)) != right:
                os._exit(1)
        os._exit(0)
    pids.append(pid)
print(sum(os.waitpid(pid, 0)[1] for pid in pids))
"""
    done = attacked.under_library(uid, code)
    assert done.stdout == "0\n", done.stderr


def reuseport(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sock


def test_case_47_unbound_socket_of_root(uid, grant):
    """An unbound SO_REUSEPORT socket of root's joins root's group, so root must not hand it out."""
    with reuseport(socket.socket()) as server:
        server.bind((ADDR, 80))
        server.listen()
        # Control: the kernel keeps a socket of the uid out of root's group.
        outcome = as_uid(uid, lambda: ask(reuseport(socket.socket())))
        assert outcome == hostile.Outcome(w.REASON_KERNEL, errno.EADDRINUSE, 0, 0)
        with reuseport(socket.socket()) as given:
            assert as_uid(uid, ask, given) == granted()
    assert "SO_REUSEPORT" in (support.REPOSITORY / "SECURITY.md").read_text()
