# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages: anything but exactly one request binds nothing; and who may send requests."""

import array
import contextlib
import os
import random
import socket
import struct

import hostile
import pytest
import support
from hostile import Helper, as_uid, ask, bind_request, encode, granted, port_of
from support import OTHER_UID, UID

from pybind import _wire as w

VALID = encode(bind_request())
HEAD = struct.pack("=IHH", w.MAGIC, w.VERSION, w.OP_BIND)
MALFORMED = {
    "empty": b"",
    "one byte": b"x",
    "seven bytes": VALID[:7],
    "head only": HEAD,
    "one byte short": VALID[:-1],
    "one byte long": VALID + b"\0",
    "twice": VALID * 2,
    "9 KB": VALID + b"\0" * 9000,
    "9 KB of noise": b"\xff" * 9000,
    "a reply": struct.pack("=IHHi", w.MAGIC, w.VERSION, 0, 0) + bytes(84),
    "magic": encode(bind_request(magic=w.MAGIC ^ 1)),
    "magic of the other byte order": encode(bind_request(magic=0x70796264)),
    **{f"op {op}": encode(bind_request(op=op)) for op in (0, 1, 3, 5, 6, 0x204, 0xFFFF)},
    **{f"family {family}": encode(bind_request(family=family)) for family in (0, 1, 16, 40, 266)},
    "protocol in a bind": encode(bind_request(protocol=6)),
    "reserved field": VALID[:14] + b"\1" + VALID[15:],
    "bytes behind an IPv4 address": VALID[:-1] + b"\1",
}
SEED, RANDOM_MESSAGES = 20261123, 300


@pytest.mark.parametrize("name", MALFORMED)
def test_case_31_malformed(uid, grant, name):
    """A short, long, unknown or old message is refused, and the socket stays unbound."""
    outcome = as_uid(uid, lambda: ask(request=MALFORMED[name]))
    assert outcome == hostile.refused(w.REASON_MALFORMED)


@pytest.mark.parametrize("version", [0, w.VERSION + 1, 0x100, 0xFFFF])
def test_case_31_other_version(uid, grant, version):
    """Another version is refused with that reason, whatever else the message has."""
    for data in (
        encode(bind_request(version=version)),
        VALID[:4] + struct.pack("=H", version) + b"xy",
    ):
        outcome = as_uid(uid, lambda data=data: ask(request=data))
        assert outcome == hostile.refused(w.REASON_VERSION)


def test_case_31_no_socket(uid, grant):
    """A bind without a descriptor 3 is refused."""
    outcome = as_uid(uid, lambda: ask(closed=(3,)))
    assert outcome == hostile.refused(w.REASON_SOCKET_KIND)


def is_orderly(outcome):
    """Tell whether the helper has replied and ended by itself."""
    return outcome.status == 0 and outcome.reason is not None


def flip_bits():
    """Run by a uid: (byte, outcome, name) for each flipped bit that was not simply refused."""
    served = []
    for bit in range(len(VALID) * 8):
        data = bytearray(VALID)
        data[bit // 8] ^= 1 << bit % 8
        with socket.socket() as sock:
            outcome = ask(sock, bytes(data))
            assert is_orderly(outcome), (bit, outcome)
            if not outcome.denied:
                served.append((bit // 8, outcome, sock.getsockname()))
    return served


def test_case_31_every_bit_flipped(uid, grant):
    """A flipped bit gives a refusal, or binds exactly the port and address of the message."""
    served = as_uid(uid, flip_bits)
    assert served
    for byte, outcome, (addr, port) in served:
        # flowinfo and scope_id (16 to 23) mean nothing for IPv4; the address is at 24 to 27.
        assert 16 <= byte < 28
        if outcome.error == 0:
            assert port == 80
            assert byte < 24 or addr.startswith("127.")
        else:
            assert (outcome.reason, outcome.port) == (w.REASON_KERNEL, 0)


def send_random(seed):
    """Run by a uid: send messages of any length and content, some with a right beginning."""
    chance = random.Random(seed)
    wrong = []
    for _ in range(RANDOM_MESSAGES):
        data = chance.randbytes(chance.choice((chance.randrange(64), 40, 40, 8)))
        data = chance.choice((b"", HEAD[:4], HEAD[:6], HEAD)) + data
        outcome = ask(request=data[: chance.choice((40, 200))])
        assert is_orderly(outcome), (data, outcome)
        if outcome.port not in (0, 80) or (outcome.error == 0) != (outcome.port == 80):
            wrong.append((data, outcome))
    return wrong


def test_case_31_random_messages(uid, grant):
    """Random messages never bind an ungranted port, and the helper always ends orderly."""
    assert as_uid(uid, send_random, SEED + uid) == []


def rights(fds):
    """Return the ancillary data that passes descriptors."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]


@pytest.mark.parametrize("count", [1, 2, 100, 253])
def test_case_32_passed_descriptors(uid, grant, count):
    """A right message with passed descriptors is refused."""

    def passing():
        with open("/dev/null") as null:
            return ask(request=VALID, ancillary=rights([null.fileno()] * count))

    assert as_uid(uid, passing) == hostile.refused(w.REASON_MALFORMED)


def send_each(messages, credentials=False):
    """Run by a uid: return the outcome of several messages, queued before the helper looks."""
    with socket.socket() as sock:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if credentials:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        for data in messages:
            ours.send(data)
        helper = Helper(sock, fds={0: theirs})
        theirs.close()
        helper.ours.close()
        helper.ours = ours
        return helper.outcome()


def test_case_33_zero_length_message(uid, grant):
    """A zero-length message is refused as the request; a right one after it is never read."""
    refused = hostile.refused(w.REASON_MALFORMED)
    assert as_uid(uid, send_each, [b""]) == refused
    assert as_uid(uid, send_each, [b"", VALID]) == refused
    assert as_uid(uid, send_each, [b"x", VALID]) == refused
    # A helper reads one request: messages after a right one change nothing.
    assert as_uid(uid, send_each, [VALID, b"", encode(bind_request(81))]) == granted()
    assert as_uid(uid, send_each, [encode(bind_request(81)), VALID]) == hostile.refused(
        w.REASON_NO_RULE
    )


def test_case_33_credentials(uid, grant):
    """A message with the control data of SO_PASSCRED is refused."""
    outcome = as_uid(uid, send_each, [VALID], True)
    assert outcome == hostile.refused(w.REASON_MALFORMED)


def test_case_33_end_of_file(uid, grant):
    """If a caller goes away without a request, nothing is bound."""

    def hang_up():
        with socket.socket() as sock:
            helper = Helper(sock)
            helper.ours.shutdown(socket.SHUT_WR)
            return helper.outcome()

    assert as_uid(uid, hang_up) == hostile.refused(w.REASON_MALFORMED)


def test_case_46_socket_of_another_user(uid):
    """A socket of a granted user does not help another user, who is judged by their own uid."""
    other = OTHER_UID if uid == UID else UID
    support.rules(f"byuser/{other}", "any,80")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def leak():
        with socket.socket() as sock:
            socket.send_fds(theirs, [b"x"], [sock.fileno()])

    with ours, theirs:
        as_uid(other, leak)
        _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
    with socket.socket(fileno=fd) as sock:
        assert as_uid(uid, ask, sock) == hostile.refused(w.REASON_NO_RULE)
        assert as_uid(other, ask, sock) == granted()  # control


@pytest.mark.parametrize("granted_to", ["starter", "sender"])
def test_case_46_request_from_another_user(uid, granted_to):
    """A request that another user sends is judged as one of the user who started the helper.

    The helper binds the starter's socket by the starter's grants. The sender's grants do
    not count. So a starter that hands out its end of the reply socket shares its grants.
    """
    other = OTHER_UID if uid == UID else UID
    support.rules(f"byuser/{uid if granted_to == 'starter' else other}", "any,80")
    expected = granted() if granted_to == "starter" else hostile.refused(w.REASON_NO_RULE)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    as_uid(other, lambda: ours.send(VALID))

    def start():
        with socket.socket() as sock:
            helper = Helper(sock, fds={0: theirs})
            helper.ours.close()
            helper.ours = ours
            return helper.outcome()

    with ours, theirs:
        assert as_uid(uid, start) == expected


def bind_from_descriptor(kind, content):
    """Run by a uid: (status, port, bytes written) with another kind of descriptor 0."""
    with socket.socket() as sock:
        if kind == "tcp":
            listener = socket.create_server(("127.0.0.1", 0))
            far = socket.create_connection(listener.getsockname())
            near, _ = listener.accept()
            far.sendall(content)
        elif kind == "pipe":
            reading, writing = os.pipe()
            os.write(writing, content)
            near, far = reading, None
            os.close(writing)
        elif kind == "file":
            near, far = os.memfd_create("request"), None
            os.write(near, content)
            os.lseek(near, 0, os.SEEK_SET)
        else:
            near, far = socket.socket(), None
        helper = Helper(sock, fds={0: near})
        status, written = helper.wait(), b""
        if far:
            far.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                written = far.recv(4096)
        return status, port_of(sock), written


@pytest.mark.parametrize("kind", ["tcp", "pipe", "file", "unconnected"])
def test_case_48_reply_descriptor_of_another_kind(uid, grant, kind):
    """A TCP connection or other file as descriptor 0: nothing is read, bound or written."""
    assert as_uid(uid, bind_from_descriptor, kind, VALID) == (1, 0, b"")


def bind_with_full_queue():
    """Run by a uid: ask with a reply socket whose queue is full."""
    with socket.socket() as sock:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        try:
            while True:
                theirs.send(b"x")
        except BlockingIOError:
            pass
        ours.send(VALID)
        helper = Helper(sock, fds={0: theirs})
        return helper.wait(), port_of(sock)


def bind_with_closed_peer():
    """Run by a uid: ask with a reply socket whose other end is closed."""
    with socket.socket() as sock:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.send(VALID)
        ours.close()
        helper = Helper(sock, fds={0: theirs})
        return helper.wait(), port_of(sock)


def test_case_48_reply_that_nobody_takes(uid, grant):
    """With a full or closed reply socket the helper ends orderly; the socket shows the result."""
    assert as_uid(uid, bind_with_full_queue) == (0, 80)
    assert as_uid(uid, bind_with_closed_peer) == (0, 80)
    grant.unlink()
    assert as_uid(uid, bind_with_full_queue) == (0, 0)
