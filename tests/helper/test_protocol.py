# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages, descriptors and sockets: what the helper takes, and what it refuses."""

import ast
import errno
import socket
import struct
import subprocess

import pytest
from support import CONFIG, GID, UID, flag, rules

from pybind import _wire as w

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
STREAM, DGRAM, RAW = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM), int(socket.SOCK_RAW)
TCP4, UDP4, TCP6, MPTCP = (V4, STREAM, 0), (V4, DGRAM, 0), (V6, STREAM, 0), (V4, STREAM, 262)
BIND = {"op": w.OP_BIND, "addr": "127.0.0.1", "socket": TCP4}


def outcome(answer):
    return answer["reason"], answer["error"], answer.get("bound", (None, 0))[1]


@pytest.mark.parametrize("kind", [TCP4, UDP4, MPTCP])
def test_bind(ask, grant80, kind):
    """A granted request binds the socket that was inherited."""
    assert outcome(ask({**BIND, "socket": kind})) == (w.REASON_GRANTED, 0, 80)


def test_bind_ipv6(ask, grant80):
    """A granted IPv6 request binds its socket."""
    answer = ask({"op": w.OP_BIND, "family": V6, "addr": "::1", "socket": TCP6})
    assert outcome(answer) == (w.REASON_GRANTED, 0, 80)


def test_refused_binds_nothing(ask):
    """Without a grant the socket stays as it was."""
    assert outcome(ask(BIND)) == (w.REASON_NO_RULE, errno.EACCES, 0)


def test_check_binds_nothing(ask, grant80):
    """A check never touches the socket, even when one is there."""
    answer = ask({"socket": TCP4})
    assert outcome(answer) == (w.REASON_GRANTED, 0, 0)
    assert answer["len"] > ask(BIND)["len"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"raw": b"x"}, w.REASON_MALFORMED),
        ({"raw": b"x" * 9000}, w.REASON_MALFORMED),
        ({"raw": struct.pack("=IHH", w.MAGIC, w.VERSION, w.OP_BIND)}, w.REASON_MALFORMED),
        ({"raw": struct.pack("=IHH", w.MAGIC, 99, 7)}, w.REASON_VERSION),
        ({"magic": 1}, w.REASON_MALFORMED),
        ({"version": 2}, w.REASON_VERSION),
        ({"op": 1}, w.REASON_MALFORMED),
        ({"op": 5}, w.REASON_MALFORMED),
        ({"family": 0}, w.REASON_MALFORMED),
        ({"family": int(socket.AF_UNIX)}, w.REASON_MALFORMED),
        ({"protocol": 6}, w.REASON_MALFORMED),
        ({"port": 0}, w.REASON_PORT_ZERO),
        ({"socket": None}, w.REASON_SOCKET_KIND),
        ({"socket": TCP6}, w.REASON_SOCKET_FAMILY),
        ({"socket": (int(socket.AF_UNIX), STREAM, 0)}, w.REASON_SOCKET_KIND),
        ({"socket": (int(socket.AF_NETLINK), RAW, 0)}, w.REASON_SOCKET_KIND),
        ({"socket": (V4, DGRAM, 136)}, w.REASON_SOCKET_KIND),
    ],
)
@pytest.mark.hostile(31)
def test_unserved(ask, grant80, change, reason):
    """A malformed or unknown request, and one that is not TCP, UDP or MPTCP, is refused."""
    answer = ask({**BIND, **change})
    assert (answer["reason"], answer["error"]) == (reason, errno.EACCES)
    assert not (answer.get("bound") or (None, 0))[1]


def test_cause_of_a_refusal(ask, grant80):
    """The reply has the errno that caused a refusal."""
    answer = ask({**BIND, "socket": None})
    assert (answer["reason"], answer["cause"]) == (w.REASON_SOCKET_KIND, errno.EBADF)


@pytest.mark.parametrize("protocol", [0, 1, 132, 136, 33])
def test_check_of_unserved_protocol(ask, grant80, protocol):
    """A check about SCTP, UDPLITE, DCCP or ICMP is refused."""
    assert ask({"protocol": protocol})["reason"] == w.REASON_SOCKET_KIND


def test_ipv4_request_with_more_than_four_bytes(ask, grant80):
    """A nonzero byte after an IPv4 address makes the request malformed."""
    raw = struct.pack(
        w.REQUEST_FORMAT, w.MAGIC, w.VERSION, w.OP_CHECK, 2, 6, socket.htons(80), 0, 0, 0,
        b"\x7f\0\0\1" + b"\1" * 12,
    )  # fmt: skip
    assert ask({"raw": raw})["reason"] == w.REASON_MALFORMED


@pytest.mark.hostile(38, "R15")
def test_kernel_errors_pass(ask, grant80):
    """The kernel's errors for a bound socket, a busy port and a foreign address pass on."""
    twice, away = ask({**BIND, "twice": True}, {**BIND, "addr": "192.0.2.1"})
    assert (twice["reason"], twice["error"]) == (w.REASON_KERNEL, errno.EINVAL)
    assert (away["reason"], away["error"]) == (w.REASON_KERNEL, errno.EADDRNOTAVAIL)
    with socket.socket() as root_server:
        root_server.bind(("127.0.0.1", 80))
        root_server.listen()
        assert ask(BIND)["error"] == errno.EADDRINUSE


@pytest.mark.parametrize(
    "ids",
    [
        ("--ruid", str(UID), "--euid", "12345"),
        ("--reuid", str(UID), "--rgid", str(GID), "--egid", "12345"),
    ],
)
def test_half_another_user(asker, grant80, ids):
    """A caller whose real and effective ids differ is refused: neither id can be judged."""
    done = subprocess.run(
        ["/usr/bin/setpriv", *ids, "--clear-groups", "--inh-caps=-all", "/usr/bin/env",
         f"PYBIND_PACKAGE={asker}", "/usr/bin/python3", asker / "asker.py"],
        input=repr([BIND]), capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    answer = ast.literal_eval(done.stdout)[0]
    assert outcome(answer) == (w.REASON_IDS, errno.EACCES, 0)


@pytest.mark.hostile(5)
def test_no_capability(ask, grant80):
    """Without its capability the helper still judges, and says whether the grant exists."""
    answer = ask(BIND, prefix=["/usr/bin/setpriv", "--no-new-privs", "/usr/bin/env"])
    assert outcome(answer) == (w.REASON_NO_CAPABILITY, errno.EACCES, 0)
    assert not answer["flags"] & w.FLAG_CAPABLE
    (CONFIG / "byport" / "80").unlink()
    answer = ask(BIND, prefix=["/usr/bin/setpriv", "--no-new-privs", "/usr/bin/env"])
    assert answer["reason"] == w.REASON_NO_RULE


@pytest.mark.hostile(4, 10)
def test_environment_and_argv_are_ignored(ask, grant80):
    """No argument and no variable changes an answer."""
    for change in (
        {"argv": ["x", "--help", "-v"]},
        {"argv": ["-"]},
        {"env": {"LD_PRELOAD": "/nonexistent", "LANG": "x", "PATH": "."}},
    ):
        assert outcome(ask({**BIND, **change})) == (w.REASON_GRANTED, 0, 80)


def test_revoked_at_once(ask):
    """The helper caches nothing: a removed rule is gone for the next request."""
    refused = (w.REASON_NO_RULE, errno.EACCES, 0)
    for grant in (lambda: flag("byport/80"), lambda: rules(f"byuser/{UID}", "any,80")):
        path = grant()
        assert outcome(ask(BIND)) == (w.REASON_GRANTED, 0, 80)
        path.unlink()
        assert outcome(ask(BIND)) == refused
