# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of pybind: its options, the ports of --port, and the user of --user."""

import ipaddress
import socket
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybind import commandline, options
from pybind.become import resolve
from pybind.errors import UsageError
from pybind.model import Request
from pybind.ports import check_sockets, parse_listed, parse_named

# -- the launch path reads a line as click does, or leaves it to click

NAMES = [name for option in options.OPTIONS for name in option.names]
VALUES = [
    "80", "http", "web=80", "[::1]:443/tcp", "127.0.0.1:53/udp", "0", "99999", "1", "007", "-1", "+1",
    "", " 1", "2147483648", "auto", "preload", "supervise", "Auto", "nobody", "true", "a b", "{fd}",
]  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(VALUES),
    st.sampled_from(
        ["--", "-", "-vq", "-p80", "-vp", "--por", "--bogus", "--help=x", "-é", "prog"]
    ),
    st.builds("{}={}".format, st.sampled_from([*NAMES, "--bogus"]), st.sampled_from(VALUES)),
)
LIKELY = st.one_of(
    st.sampled_from([["-v"], ["-q"], ["--check"], ["--deep"], ["--listen"], ["--inetd"]]),
    st.sampled_from(
        [["-p", "80"], ["--port", "web=80"], ["--port=443/tcp"], ["-p", "[::1]:53/udp"]]
    ),
    st.sampled_from(
        [["--depth", "2"], ["--mode", "preload"], ["--backlog=9"], ["--user", "nobody"]]
    ),
)
LINES = st.one_of(
    st.lists(WORDS, max_size=8),
    st.builds(lambda parts, rest: [*(word for part in parts for word in part), *rest], st.lists(LIKELY, max_size=4),
              st.lists(WORDS, max_size=3)),
)  # fmt: skip


def outcome(read, line):
    try:
        return read(line)
    except UsageError as error:
        return error.lines


@settings(max_examples=1000, deadline=None)
@given(LINES)
def test_agrees_with_click(line):
    """For each line that the launch path reads, click gives the same Request or refusal."""
    mine = outcome(options.read, line)
    if mine is not None:
        assert mine == outcome(commandline.parse, line)


@pytest.mark.parametrize(
    "line",
    [
        "-- true",
        "true --port 80",
        "--port 80 -- true",
        "-p 80 -p [::1]:443/tcp -v true",
        "--port=80 --depth 2 --mode preload -q true",
        "--listen --port web=80 --backlog 9 --user nobody:nogroup -- true {fd}",
        "--check --port http",
    ],
)
def test_usual_lines_need_no_click(line):
    """The lines that people write are read without click."""
    assert isinstance(options.read(line.split()), options.Request)


@pytest.mark.parametrize("line", ["--help", "--version", "-vq true", "-p80 true", "--port", "--x"])
def test_the_rest_is_click_s(line):
    """click reads help, errors and several short options in one word."""
    assert options.read(line.split()) is None


def test_another_word_for_true_is_found_out():
    """The comparison above can fail: a reader that drops an option disagrees with click."""
    line = ["-v", "true"]
    assert options.read(line[1:]) != commandline.parse(line)
    assert "click" in sys.modules


# -- --port: which texts are understood, and the words of each refusal

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


# -- --user: which user the option names


@pytest.mark.parametrize("text", ["0", "00", "root", "root:nogroup", "0:65534"])
def test_root_is_refused(text):
    """Uid 0 is refused by every name: --user exists to give root's rights away."""
    with pytest.raises(UsageError, match="is root"):
        resolve(text)


@pytest.mark.parametrize(
    "text", ["-1", "+5:5", " 5:5", "5 :5", "0x5:5", "\u0665:5", "1e3:5", "5:-1"]
)
def test_only_digits_are_numbers(text):
    """Only digits are an id. Any other text is a user name, and no user has these names."""
    with pytest.raises(UsageError, match="there is no"):
        resolve(text)


@pytest.mark.parametrize("text", ["4294967295:5", "5:4294967295", "1" * 5000 + ":5"])
def test_ids_that_setresuid_would_leave_alone(text):
    """setresuid(2) reads the largest number as "do not change this id", so it is refused."""
    with pytest.raises(UsageError, match="ids are 0 to 4294967294"):
        resolve(text)
