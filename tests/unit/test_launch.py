# SPDX-License-Identifier: GPL-3.0-or-later
"""The launch: the environment and the descriptors that the program is given, and _lean."""

import os
import signal
import socket
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybind import _lean, plan
from pybind.become import environ_of
from pybind.errors import UsageError
from pybind.model import Account, Address, Request, Target
from pybind.ports import parse_listed, parse_named

LIBRARY = b"/lib/libpybind.so"
ACCOUNT = Account("eve", 7, 8, (8, 9), "/home/\udce4", "/bin/sh")
TARGET = Target(b"/bin/true", "program", None, False)


def request(*ports, depth=None, verbose=False):
    listed = tuple(parse_listed(port) for port in ports)
    return Request((b"true",), listed, depth, verbose=verbose)


def named(*ports, argv=(b"prog",), **options):
    listed = tuple(parse_named(port) for port in ports)
    return Request(argv, listed, **options)


def test_environment_is_kept():
    """Order, duplicates, non-UTF-8 bytes and entries without '=' are kept."""
    environ = (b"A=1", b"B=\xff", b"A=2", b"odd", b"=x", b"LC_CTYPE=")
    made = plan.preload(request(), TARGET, environ, LIBRARY)
    assert made.environ == (*environ, b"LD_PRELOAD=" + LIBRARY)
    assert plan.plain(request(), TARGET, environ).environ == environ


def test_preload_comes_first_and_once():
    """Another preload library stays behind ours; a nested pybind adds no second one."""
    made = plan.preload(request(), TARGET, (b"LD_PRELOAD=/a.so /b.so",), LIBRARY)
    assert made.environ == (b"LD_PRELOAD=" + LIBRARY + b":/a.so:/b.so",)
    again = plan.preload(request(), TARGET, made.environ, LIBRARY)
    assert again.environ == made.environ


def test_limits():
    """Every form of --port has the encoding that limits.c reads."""
    made = plan.preload(
        request("80", "127.0.0.1:443/tcp", "[::1]:53/udp", "[::ffff:1.2.3.4]:1"),
        TARGET,
        (),
        LIBRARY,
    )
    ports = next(e for e in made.environ if e.startswith(b"PYBIND_PORTS="))
    assert ports == (b"PYBIND_PORTS=0050b*,01bbt47f000001,0035u6" + b"0" * 31 + b"1,0001b401020304")


def test_nested_narrows():
    """Each pybind adds a list; all lists must allow."""
    outer = plan.preload(request("80", "443/tcp"), TARGET, (), LIBRARY)
    inner = plan.preload(request("80"), TARGET, outer.environ, LIBRARY)
    assert b"PYBIND_PORTS=0050b*,01bbt*|0050b*" in inner.environ
    kept = plan.preload(request(depth=3, verbose=True), TARGET, outer.environ, LIBRARY)
    assert b"PYBIND_PORTS=0050b*,01bbt*" in kept.environ
    assert b"PYBIND_DEPTH=3" in kept.environ
    assert b"PYBIND_VERBOSE=1" in kept.environ


def test_outer_limit():
    """A port that the outer pybind does not serve is refused before the start."""
    outer = plan.preload(request("80", "443/tcp"), TARGET, (), LIBRARY).environ
    excluded = {
        text: plan.outer_limit_excludes(parse_listed(text), outer)
        for text in ("80", "80/udp", "127.0.0.1:80", "443", "443/tcp", "81")
    }
    assert [text for text, out in excluded.items() if out] == ["443", "81"]
    assert not plan.outer_limit_excludes(parse_listed("81"), ())


@pytest.mark.parametrize(
    ("text", "excluded"),
    [
        (None, None),
        (b"0050b*", None),
        (b"0050t47f000001", None),
        (b"0051b*", "port"),
        (b"0051b*,0050u*", "protocol"),
        (b"0050t47f000002,0050u*", "address"),
        (b"0050b*|0051b*", "port"),
        (b"0050u47f000002", "protocol"),
    ],
)
def test_why_a_bind_is_not_among_the_listed(text, excluded):
    """The words say whether port, protocol or address differs; every nested list counts."""
    address = Address(socket.AF_INET, bytes([127, 0, 0, 1]), 0, 80, udp=False)
    assert plan.limits_exclude(text, address) == excluded


def test_sockets():
    """The three variables of sd_listen_fds(3) are set anew, and no other entry changes."""
    environ = (b"LISTEN_FDS=1", b"A=1", b"LISTEN_FDS=2", b"LISTEN_PIDFDID=3", b"odd", b"LISTEN_X=")
    made = plan.sockets(named("web=80", "443", listen=True), TARGET, environ, 77)
    assert made.environ == (b"A=1", b"odd", b"LISTEN_X=", b"LISTEN_FDS=2", b"LISTEN_PID=77",
                            b"LISTEN_FDNAMES=web:unknown")  # fmt: skip
    inetd = plan.sockets(named("80", inetd=True), TARGET, environ, 77)
    assert inetd.environ == (b"A=1", b"odd", b"LISTEN_X=")


def test_environment():
    """HOME, SHELL, USER, LOGNAME and MAIL of the caller go, duplicates too; other entries stay."""
    environ = (b"HOME=/root", b"A=\xff", b"odd", b"HOME=/x", b"HOMEPAGE=1", b"MAIL=m", b"USERS=2")
    assert environ_of(ACCOUNT, environ) == (
        b"A=\xff", b"odd", b"HOMEPAGE=1", b"USERS=2",
        b"HOME=/home/\xe4", b"SHELL=/bin/sh", b"USER=eve", b"LOGNAME=eve",
    )  # fmt: skip


def test_descriptors_in_arguments():
    """Only whole {fd} and {fd:NAME} in arguments are replaced, never the program's name."""
    argv = (b"{fd}", b"{fd:web}", b"-{fd:a b}-", b"{fd", b"fd}", b"{ fd}", b"{fdx}", b"{}", b"\xff")
    filled = plan.fill_descriptors(named("web=80", "a b=443", listen=True, argv=argv))
    assert filled == (
        b"{fd}", b"3", b"-4-", b"{fd", b"fd}", b"{ fd}", b"{fdx}", b"{}", b"\xff",
    )  # fmt: skip
    assert plan.fill_descriptors(named("80", argv=(b"p", b"{fd}"), inetd=True)) == (b"p", b"0")
    for wrong in (b"{fd}", b"{fd:}", b"{fd:unknown}", b"{fd:\xff}"):
        with pytest.raises(UsageError):
            plan.fill_descriptors(named("web=80", "443", listen=True, argv=(b"p", wrong)))
    with pytest.raises(UsageError):
        plan.fill_descriptors(named("80", argv=(b"p", b"x{fd}")))


# -- _lean does what the slow standard modules do that it replaces on the launch path

# Names that both modules have, but that the standard module defines anew in Python.
REWRITTEN = {
    os: {"environ"},
    stat: set(),
    struct: set(),
    socket: {"SocketType", "getaddrinfo", "socket", "socketpair"},
}


@given(st.binary())
def test_decoding(name):
    """Any file name becomes the same text as by os.fsdecode(), and the same bytes again."""
    assert _lean.fsdecode(name) == os.fsdecode(name)
    assert _lean.fsencode(_lean.fsdecode(name)) == name


@pytest.mark.parametrize(
    "path", [b"/", b"/etc/passwd", b"/etc/passwd/x", b"/nowhere", b"", b"a\0b", b"/etc/../etc"]
)
def test_exists(path):
    """exists() says whether a path exists, for every reason why it may not."""
    assert _lean.exists(path) == os.path.exists(path)


@pytest.mark.parametrize("whole", REWRITTEN)
def test_halves(whole):
    """A name that both modules have is the same function or number."""
    half = _lean.posix if whole is os else getattr(_lean, whole.__name__)
    common = [name for name in dir(half) if not name.startswith("_") and hasattr(whole, name)]
    assert {n for n in common if getattr(half, n) != getattr(whole, n)} <= REWRITTEN[whole]
    assert len(common) > 5


def test_signals():
    """_lean has plain numbers that equal the enum of signal."""
    assert _lean.signal.SIGPIPE == signal.SIGPIPE
    assert _lean.signal.SIG_IGN == signal.SIG_IGN
