# SPDX-License-Identifier: GPL-3.0-or-later
"""--port: which texts are understood, and the words of each refusal."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybind.errors import UsageError
from pybind.model import Request
from pybind.ports import check_sockets, parse_listed, parse_named

V4 = socket.inet_aton("127.0.0.1")
V6 = socket.inet_pton(socket.AF_INET6, "::1")


@pytest.mark.parametrize(
    ("text", "port", "addr", "protocol"),
    [
        ("80", 80, None, None),
        ("80/udp", 80, None, "udp"),
        ("any:80", 80, None, None),
        ("127.0.0.1:80", 80, V4, None),
        ("127.0.0.1:443/tcp", 443, V4, "tcp"),
        ("[::1]:65535", 65535, V6, None),
        ("[::1]:53/udp", 53, V6, "udp"),
    ],
)
def test_forms(text, port, addr, protocol):
    """Each documented form is read as documented."""
    listed = parse_listed(text)
    assert (listed.port, listed.addr, listed.protocol) == (port, addr, protocol)


def test_service_name():
    """A name from services(5) stands for its port."""
    assert parse_listed("http").port == 80
    assert parse_listed("domain/udp").port == 53


def test_scope():
    """A scope is an interface's name or number."""
    assert parse_listed("[fe80::1%lo]:80").scope_id == socket.if_nametoindex("lo")
    assert parse_listed("[fe80::1%7]:80").scope_id == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", "any free port"),
        ("65536", "1 to 65535"),
        ("99999999999999999999", "1 to 65535"),
        ("-1", "neither a number"),
        ("80/xyz", "'xyz' is neither tcp nor udp"),
        ("80/", "'' is neither tcp nor udp"),
        ("[::1", "[ADDR:]PORT[/PROTO]"),
        ("::1:80", "in brackets"),
        ("[::1]", "in brackets"),
        ("", "neither a number"),
        ("١٢", "neither a number"),
        ("127.0.0.256:80", "not an IPv4 address"),
        ("localhost:80", "not looked up"),
        ("[127.0.0.1]:80", "not an IPv6 address"),
        ("[fe80::1%nosuch]:80", "no interface 'nosuch'"),
        ("nosuchservice", "no service 'nosuchservice'"),
        ("http/udpp", "'udpp' is neither"),
    ],
)
def test_wrong(text, words):
    """The refusal names the part of the text that is wrong."""
    with pytest.raises(UsageError) as error:
        parse_listed(text)
    assert words in error.value.lines[0]
    assert repr(text) in error.value.lines[0]


@given(st.text(max_size=30))
def test_any_text(text):
    """Any text is either read or raises UsageError, and no other exception."""
    try:
        listed = parse_listed(text)
    except UsageError:
        return
    assert 1 <= listed.port <= 65535


@given(st.ip_addresses(), st.integers(1, 65535), st.sampled_from(["", "/tcp", "/udp"]))
def test_round_trip(address, port, protocol):
    """Every address and port is read back as it was written."""
    host = f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)
    listed = parse_listed(f"{host}:{port}{protocol}")
    assert (listed.addr, listed.port) == (address.packed, port)


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("web=80", "web", 80),
        ("a b{}%=127.0.0.1:80/udp", "a b{}%", 80),
        ("x" * 255 + "=80", "x" * 255, 80),
        ("http", None, 80),
        ("[::1]:443", None, 443),
    ],
)
def test_names(text, name, port):
    """NAME= may stand before every form, and the text is kept as it was typed."""
    listed = parse_named(text)
    assert (listed.name, listed.port, listed.text) == (name, port, text)


@pytest.mark.parametrize("name", ["", "x" * 256, "a:b", "a\x1fb", "a\x7f", "\xe4", "\udcff", "a\n"])
def test_names_that_systemd_would_not_take(name):
    """Names follow the rules of sd_listen_fds(3); an empty name is refused."""
    with pytest.raises(UsageError, match="a name"):
        parse_named(name + "=80")


def test_names_are_for_sockets_only():
    """pybindctl's specifications have no names."""
    with pytest.raises(UsageError):
        parse_listed("web=80")


def asked(*ports, ways=(), **options):
    """Return what check_sockets() makes of a command line."""
    listed = tuple(parse_named(port) for port in ports)
    request = Request((b"true",), listed, **options)
    return check_sockets(request, list(ways))


def test_sockets_have_a_protocol():
    """With --listen a port without a protocol is TCP; otherwise it is TCP and UDP."""
    found = asked("80", "53/udp", listen=True).listed
    assert [listed.protocol for listed in found] == ["tcp", "udp"]
    assert asked("80").listed[0].protocol is None


@pytest.mark.parametrize(
    ("ports", "overlap"),
    [
        (["80", "80"], True),
        (["80", "80/udp"], False),
        (["80", "443"], False),
        (["80", "[::1]:80"], True),
        (["0.0.0.0:80", "127.0.0.1:80"], True),
        (["127.0.0.1:80", "127.0.0.2:80"], False),
        (["0.0.0.0:80", "[::]:80"], False),
        (["[::]:80", "[::1]:80"], True),
        (["[fe80::1%1]:80", "[fe80::1%2]:80"], False),
        (["[fe80::1%1]:80", "[fe80::1%1]:80"], True),
    ],
)
def test_overlaps(ports, overlap):
    """Two sockets for one address are refused before a socket is opened."""
    if overlap:
        with pytest.raises(UsageError, match="overlap"):
            asked(*ports, listen=True)
    else:
        assert len(asked(*ports, listen=True).listed) == 2
    assert len(asked(*ports).listed) == 2  # ports that are only limits may overlap
