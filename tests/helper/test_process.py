# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper as a process: what it keeps, what it drops, which messages it takes."""

import array
import contextlib
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess

import pytest
import support
from support import flag

from pybind import _wire as w

REPLY_LEN = struct.calcsize(w.REPLY_FORMAT)
CAP_NET_BIND_SERVICE = 1 << 10
IPV6_FREEBIND = 78  # linux/in6.h
LOOPBACK_INDEX = 1


def request(port=80, op=w.OP_BIND, zero=0):
    """Return a whole request about 127.0.0.1."""
    address = socket.inet_aton("127.0.0.1").ljust(16, b"\0")
    head = (w.MAGIC, w.VERSION, op, int(socket.AF_INET), 0, socket.htons(port), zero, 0, 0)
    return struct.pack(w.REQUEST_FORMAT, *head, address)


def start(reply_end, sock, before="", keep=()):
    """Start the helper as UID with reply_end as descriptor 0 and sock as descriptor 3.

    before: shell commands that run first, in the process that becomes the helper.
    """
    script = f'{before} exec "$0" 3<&{sock.fileno()}'
    kept = [sock.fileno(), *keep]
    argv = ["/bin/bash", "--norc", "-c", script, support.HELPER]
    return support.as_user(argv, stdin=reply_end, pass_fds=kept, stdout=subprocess.PIPE)


@contextlib.contextmanager
def waiting_helper(before="", keep=()):
    """Yield (process, our end, socket) of a helper that waits for its request."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket() as sock:
        process = start(theirs, sock, before, keep)

        def waits():
            assert process.poll() is None, process.returncode
            exe = os.readlink(f"/proc/{process.pid}/exe")
            call = pathlib.Path(f"/proc/{process.pid}/syscall").read_text().split()
            return exe == support.HELPER and call[1:2] == ["0x0"]

        try:
            support.wait_for(waits, "the helper to wait for its request")
            theirs.close()
            yield process, ours, sock
        finally:
            process.kill()
            process.communicate()


def state_of(process):
    """Return /proc/PID/status as a dict of words."""
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def answer_to(message, ancillary=(), flags=0):
    """Send one message to a helper; returns (reason or None, port that is bound then)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket() as sock:
        ours.sendmsg([message], ancillary, flags)
        process = start(theirs, sock)
        theirs.close()
        process.communicate(timeout=support.PATIENCE_S)
        data = ours.recv(1 << 16)
        reason = struct.unpack_from(w.REPLY_FORMAT, data)[2] if data else None
        return reason, sock.getsockname()[1]


def test_rights_while_it_waits(grant80):
    """The helper has one capability, not effective, and no_new_privs; it is not dumpable."""
    with waiting_helper() as (process, _ours, _sock):
        state = state_of(process)
        assert int(state["CapPrm"], 16) == CAP_NET_BIND_SERVICE
        assert int(state["CapEff"], 16) == int(state["CapInh"], 16) == 0
        assert int(state["CapAmb"], 16) == 0
        assert state["NoNewPrivs"] == "1"
        # The files of a process that is not dumpable belong to root (proc(5)).
        assert pathlib.Path(f"/proc/{process.pid}/maps").stat().st_uid == 0
        limits = pathlib.Path(f"/proc/{process.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)


def test_looked_into_by_its_own_user(grant80):
    """The helper stays undumpable even where the kernel would reset the flag."""
    with waiting_helper() as (process, _ours, _sock):
        looking = support.run(["/bin/cat", f"/proc/{process.pid}/environ"])
        assert looking.returncode != 0
        assert "Permission denied" in looking.stderr


def test_root_keeps_one_capability_too():
    """Root's helper too keeps only the one capability, and no right over files."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket() as sock:
        argv = ["/bin/bash", "--norc", "-c", f'exec "$0" 3<&{sock.fileno()}', support.HELPER]
        process = subprocess.Popen(argv, stdin=theirs, pass_fds=[sock.fileno()])
        try:
            support.wait_for(lambda: state_of(process)["NoNewPrivs"] == "1", "the helper")
            assert int(state_of(process)["CapPrm"], 16) == CAP_NET_BIND_SERVICE
            assert int(state_of(process)["CapEff"], 16) == 0
        finally:
            process.kill()
            process.wait()


def test_inherited_descriptors_are_closed(grant80):
    """The caller's pipe, listener, stdout and stderr are closed, so nobody waits for them."""
    reader, writer = os.pipe()
    with socket.socket() as listener, os.fdopen(reader, "rb"), os.fdopen(writer, "wb"):
        listener.listen()
        keep = (listener.fileno(), writer)
        with waiting_helper(keep=keep) as (process, _ours, _sock):
            assert set(os.listdir(f"/proc/{process.pid}/fd")) == {"0", "3"}


def test_signals_are_reset(grant80):
    """SIGTERM ends the helper although its caller ignored or blocked the signal."""
    with waiting_helper(before='trap "" ALRM TERM;') as (process, _ours, _sock):
        state = state_of(process)
        assert int(state["SigBlk"], 16) == 0
        assert not int(state["SigIgn"], 16) & (1 << signal.SIGALRM - 1 | 1 << signal.SIGTERM - 1)
        process.terminate()
        assert process.wait(support.PATIENCE_S) == -signal.SIGTERM


@contextlib.contextmanager
def blocked(signals):
    """Block these signals, so that a child inherits the mask."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def test_blocked_signals(grant80):
    """The helper unblocks all signals."""
    with blocked(signal.valid_signals()), waiting_helper() as (process, _ours, _sock):
        assert int(state_of(process)["SigBlk"], 16) == 0


def test_gives_up_by_itself(grant80):
    """A helper that nobody answers ends by SIGALRM, even when that was ignored and blocked."""
    before = "trap '' ALRM; grep -E 'Sig(Blk|Ign)' /proc/self/status;"
    with blocked({signal.SIGALRM}), waiting_helper(before) as (process, _ours, sock):
        # Control: SIGALRM is ignored and blocked.
        assert all(int(process.stdout.readline().split()[1], 16) & 1 << 13 for _ in range(2))
        assert process.wait(support.PATIENCE_S) == -signal.SIGALRM
        assert sock.getsockname()[1] == 0


@pytest.mark.parametrize("kind", ["tcp", "pipe", "file"])
def test_reply_descriptor_of_another_kind(grant80, kind):
    """The helper answers only on a Unix socket, so no reply goes to somebody else."""
    with socket.socket() as sock, contextlib.ExitStack() as stack:
        if kind == "tcp":
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ours = stack.enter_context(socket.create_connection(listener.getsockname()))
            theirs = stack.enter_context(listener.accept()[0])
            ours.send(request())
        elif kind == "pipe":
            reader, writer = os.pipe()
            theirs = stack.enter_context(os.fdopen(reader, "rb"))
            stack.enter_context(os.fdopen(writer, "wb", buffering=0)).write(request())
        else:
            path = support.scratch_dir() / "request"
            path.write_bytes(request())
            theirs = stack.enter_context(path.open("rb"))
        process = start(theirs, sock)
        process.communicate(timeout=support.PATIENCE_S)
        assert process.returncode == 1
        assert sock.getsockname()[1] == 0


def test_exact_message(grant80):
    """One whole request is served."""
    assert answer_to(request()) == (w.REASON_GRANTED, 80)


@pytest.mark.parametrize(
    "message",
    [
        request() + b"\0",
        request() + bytes(9000),
        request()[:-1],
        request()[:8],
        request()[:7],
        struct.pack("=IH", w.MAGIC, 99),
        b"",
        request(zero=1),
        b"\0" + request()[1:],
    ],
    ids=["longer", "much longer", "shorter", "head", "less than the head", "version only", "empty",
         "zero is not 0", "magic"],
)  # fmt: skip
def test_other_messages(grant80, message):
    """A message that is not exactly one request is malformed and binds nothing."""
    assert answer_to(message) == (w.REASON_MALFORMED, 0)


def test_passed_descriptors(grant80):
    """A message with descriptors is malformed: the socket comes by inheritance alone."""
    with socket.socket() as other:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [other.fileno()] * 100))]
        assert answer_to(request(), rights) == (w.REASON_MALFORMED, 0)
        assert other.getsockname()[1] == 0


def test_socket_of_another_namespace(grant80):
    """A socket made in another network namespace is refused, though the rules grant."""
    unshare = ["/usr/bin/unshare", "--net", "/bin/bash", "--norc", "-c"]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine, far = socket.socketpair()
    code = (
        "import array, socket, sys; s = socket.socket(); m = socket.socket(fileno=0);"
        "m.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [s.fileno()]))])"
    )
    with ours, theirs, mine, far:
        subprocess.run([*unshare, f'exec /usr/bin/python3 -c "{code}"'], stdin=far, check=True)
        _data, fds, _flags, _address = socket.recv_fds(mine, 1, 1)
        with socket.socket(fileno=fds[0]) as sock:
            ours.send(request())
            process = start(theirs, sock)
            theirs.close()
            process.communicate(timeout=support.PATIENCE_S)
            assert struct.unpack(w.REPLY_FORMAT, ours.recv(REPLY_LEN))[2] == w.REASON_NETNS
            assert sock.getsockname()[1] == 0


def test_raw_socket_with_a_false_name(grant80):
    """A raw socket that names TCP as its protocol is refused by its type."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    with ours, theirs, raw:
        ours.send(request())
        process = start(theirs, raw)
        theirs.close()
        process.communicate(timeout=support.PATIENCE_S)
        assert struct.unpack(w.REPLY_FORMAT, ours.recv(REPLY_LEN))[2] == w.REASON_SOCKET_KIND


IN_CHROOT = """
import os, sys
root, helper, uid = sys.argv[1], os.dup2(os.open(sys.argv[2], os.O_RDONLY), 50), int(sys.argv[3])
os.chroot(root); os.chdir("/"); os.setgroups([]); os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid); os.dup2(int(sys.argv[4]), 3); os.execve(helper, ["helper"], {})
"""


@pytest.mark.parametrize(
    ("mode", "reason"), [(0o755, w.REASON_GRANTED), (0o777, w.REASON_CONFIG_UNSAFE)]
)
def test_root_folder_must_be_roots(mode, reason):
    """A caller that may only chroot(2) cannot show the helper a root folder of their own."""
    root = support.scratch_dir()
    (root / "etc/pybind/byport").mkdir(parents=True)
    (root / "etc/pybind/byport/80").touch(mode=0o755)
    root.chmod(mode)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket() as sock:
        ours.send(request())
        python = ["/usr/bin/python3", "-c", IN_CHROOT, root, support.HELPER]
        subprocess.run(
            [*map(str, python), str(support.UID), str(sock.fileno())],
            stdin=theirs, pass_fds=[sock.fileno()], timeout=support.PATIENCE_S, check=True,
        )  # fmt: skip
        assert struct.unpack(w.REPLY_FORMAT, ours.recv(REPLY_LEN))[2] == reason
        assert sock.getsockname()[1] == (80 if reason == w.REASON_GRANTED else 0)


def test_link_local_scope_reaches_the_kernel():
    """The scope id reaches bind(2): without it the kernel refuses a link-local address."""
    flag("byport/80", mode=0o755)
    address = socket.inet_pton(socket.AF_INET6, "fe80::7")
    head = (w.MAGIC, w.VERSION, w.OP_BIND, int(socket.AF_INET6), 0, socket.htons(80), 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        ours.send(struct.pack(w.REQUEST_FORMAT, *head, 0, LOOPBACK_INDEX, address))
        process = start(theirs, sock)
        theirs.close()
        process.communicate(timeout=support.PATIENCE_S)
        reply = struct.unpack(w.REPLY_FORMAT, ours.recv(REPLY_LEN))
        assert (reply[2], reply[3]) == (w.REASON_GRANTED, 0)
        assert sock.getsockname()[3] == LOOPBACK_INDEX
