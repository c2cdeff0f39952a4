# SPDX-License-Identifier: GPL-3.0-or-later
"""Rule files, names and SPECs are read as by the helper and the documented grammar."""

import random
import socket

import generate
import pytest
import support
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import UID, rules
from test_list import SEED

from pybind import _wire
from pybind.admin.asking.ask import ask
from pybind.errors import UsageError
from pybind.model import MAPPED, Address
from pybind.permissions.errors import AdminError, Invalid
from pybind.permissions.names import Flag, Owner, Unknown, flag_name, parse_name, pieces
from pybind.permissions.overlap import covered, intersect, subtract
from pybind.permissions.precedence import in_force
from pybind.permissions.reading import read_rules
from pybind.permissions.rule import (
    ANY,
    Broken,
    Rule,
    address_name,
    parse,
    parse_any_line,
    parse_line,
    rule_text,
)
from pybind.permissions.spec import parse_spec, spec_text
from pybind.permissions.who import Identity

FEW = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
V4 = ["0.0.0.0", "127.0.0.1", "192.0.2.0", "192.0.2.5", "192.0.2.255", "255.255.255.255"]
V6 = ["::", "::1", "2001:db8::", "2001:db8::5", "2001:db8:0:0:1::", "fe80::1", "::192.0.2.5"]
PORTS = ["0", "1", "79", "80", "81", "443", "65535", "65536", "080", ""]
ADDRESSES = st.one_of(
    st.just("any"),
    st.sampled_from(V4 + V6),
    st.tuples(st.sampled_from(V4 + V6), st.sampled_from(V4 + V6)).map("-".join),
    st.tuples(
        st.sampled_from(V4 + V6), st.sampled_from(["0", "8", "24", "32", "48", "128", "129", "x"])
    ).map("/".join),
)
LINES = st.builds(
    "".join,
    st.tuples(
        ADDRESSES,
        st.sampled_from([",", ",", ", ", ":", ": ", " "]),
        st.sampled_from(PORTS),
        st.one_of(
            st.just(""),
            st.tuples(st.sampled_from(["-", ",", ", "]), st.sampled_from(PORTS)).map("".join),
        ),
        st.sampled_from(["", "", "", "/tcp", "/udp", "/sctp", "/", "/tcpx"]),
        st.sampled_from(
            ["", "", " ", "\t # note", "#caf\u00e9", " x", "\r", "\x00", "#" + "x" * 256]
        ),
    ),
)


def _question(addr, port, udp):
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    return Address(family, socket.inet_pton(family, addr), 0, port, udp)


@FEW
@given(
    st.lists(LINES, min_size=1, max_size=3),
    st.sampled_from(V4 + V6[1:]),
    st.sampled_from([1, 79, 80, 81, 443]),
    st.booleans(),
)
def test_lines_as_the_helper_reads_them(lines, addr, port, udp):
    """Helper and Python name the same broken line and fault, or the same covering line."""
    path = support.CONFIG / f"byuser/{UID}"
    path.write_bytes("\n".join(lines).encode())
    path.chmod(0o644)
    question = _question(addr, port, udp)
    (reply,) = ask(Identity(UID, support.GID, (), None), [question])
    read = parse(path.read_bytes())
    broken = [line for line in read if isinstance(line.content, Broken)]
    if broken:
        expected = (_wire.REASON_RULES_BROKEN, broken[0].number, broken[0].content.fault)
    else:
        point = Rule(int(question.family), question.addr, question.addr, port, port,
                     "udp" if udp else "tcp")  # fmt: skip
        match = [line.number for line in read if line.content and intersect(line.content, point)]
        expected = (_wire.REASON_GRANTED, match[0], 0) if match else (_wire.REASON_NO_RULE, 0, 0)
    assert (reply.reason, reply.line, reply.fault) == expected, lines


def test_short_cut_reads_as_the_parser():
    """The short cut for plain lines gives the same as the parser, for lines of all kinds."""
    rng = random.Random(SEED)
    lines = {b"any,80", b"any,65535", b"any,65536", b"1.2.3.4,080", b"01.2.3.4,80", b"1.2.3,80"}
    lines |= {b"256.1.1.1,80", b"1.2.3.4,80/tcp", b"1.2.3.4,80/udp", b"any,80/sctp", b"any,80\n"}
    for number in range(400):
        for entry in generate.configuration(rng.random(), number).files.values():
            lines.update(entry.content[:4096].split(b"\n"))
    for line in lines:
        assert parse_line(line) == parse_any_line(line), line
    assert len(lines) > 1000


@pytest.mark.parametrize(
    ("line", "text"),
    [("any,80", None), ("192.0.2.0/24:80,90/udp", "192.0.2.0/24,80-90/udp"), ("any, 80 # x", "any,80"),
     ("2001:DB8:0:0::/32,443", "2001:db8::/32,443"), ("1.2.3.4-1.2.3.9,1-2/tcp", None),
     ("0.0.0.0-255.255.255.255,1", "0.0.0.0/0,1")],
)  # fmt: skip
def test_a_rule_as_text(line, text):
    """A rule is written in one spelling, and read back as the same rule."""
    rule = parse_line(line.encode())
    assert rule_text(rule) == (text or line)
    assert parse_line(rule_text(rule).encode()) == rule


BOXES = st.builds(
    lambda family, a, b, low, high, protocol: Rule(
        family,
        b"" if family == ANY else min(a, b) * (4 if family == socket.AF_INET else 16),
        b"" if family == ANY else max(a, b) * (4 if family == socket.AF_INET else 16),
        min(low, high),
        max(low, high),
        protocol,
    ),
    st.sampled_from([ANY, int(socket.AF_INET), int(socket.AF_INET6)]),
    st.sampled_from([b"\0", b"\1", b"\x7f", b"\xff"]),
    st.sampled_from([b"\0", b"\1", b"\x7f", b"\xff"]),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([None, "tcp", "udp"]),
)


@settings(FEW, max_examples=400)
@given(BOXES, BOXES)
def test_subtraction(one, other):
    """The rest and the cut piece do not overlap; together they are the original."""
    rest = subtract(one, other)
    common = intersect(one, other)
    assert not any(intersect(part, other) for part in rest)
    assert covered([one], [*rest, *([common] if common else [])])
    assert covered(rest, [one])
    assert all(not intersect(a, b) for a in rest for b in rest if a is not b)
    assert all(parse_line(rule_text(part).encode()) == part for part in rest)


@pytest.mark.parametrize(
    ("spec", "line"),
    [("80", "any,80"), ("http", "any,80"), ("443/tcp", "any,443/tcp"), ("any:80", "any,80"),
     ("8000-8010/udp", "any,8000-8010/udp"), ("192.0.2.0/24:443", "192.0.2.0/24,443"),
     ("[2001:db8::]/32:443", "2001:db8::/32,443"), ("127.0.0.1:80-81", "127.0.0.1,80-81"),
     ("[::ffff:192.0.2.1]:80", "192.0.2.1,80"), ("192.0.2.5-192.0.2.9:80", "192.0.2.5-192.0.2.9,80"),
     ("[2001:db8::5]-[2001:db8::9]:80/tcp", "2001:db8::5-2001:db8::9,80/tcp")],
)  # fmt: skip
def test_specs(spec, line):
    """A SPEC gives a rule, and the SPEC of that rule gives the same rule again."""
    rule = parse_spec(spec)
    assert rule_text(rule) == line
    assert parse_spec(spec_text(rule)) == rule


@pytest.mark.parametrize(
    ("spec", "words"),
    [("0", "port 0"), ("70000", "1 to 65535"), ("80-70000", "1 to 65535"), ("90-80", "write 80-90"),
     ("::1:80", "[::1]:443"), ("192.0.2.1/24:80", "192.0.2.0/24"), ("192.0.2.0/33:80", "length"),
     ("any/8:80", "needs an address"), ("80/sctp", "neither tcp nor udp"), ("", "neither a number"),
     ("[fe80::1%lo]:80", "every interface"), ("192.0.2.9-192.0.2.5:80", "minimum is above"),
     ("[2001:db8::1]/32:80", "[2001:db8::]/32"), ("web.example:80", "not an IPv4 address")],
)  # fmt: skip
def test_wrong_specs(spec, words):
    """The error names the fault and says what to write."""
    with pytest.raises((AdminError, UsageError)) as raised:
        parse_spec(spec)
    assert words in " ".join(raised.value.lines)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("::ffff:192.0.2.1,80", []),
        ("::ffff:0:0/96,80", []),
        ("::ffff:10.0.0.0/104,80", []),
        ("::fffe:0:0-::ffff:1:1,80", ["::fffe:0:0/96,80"]),
        ("::ffff:1:1-::1:0:0:5,80", ["::1:0:0:0-::1:0:0:5,80"]),
        ("::/0,80", ["::/0,80"]),
        ("::fffe:ffff:ffff,80", ["::fffe:ffff:ffff,80"]),
        ("::1:0:0:0,80", ["::1:0:0:0,80"]),
    ],
)
def test_mapped_addresses_count_for_no_ipv6_line(line, counts):
    """The part of an IPv6 line that is left without mapped addresses is all that it grants."""
    rules(f"byuser/{UID}", line)
    whole, parts = parse_line(line.encode()), in_force(parse_line(line.encode()), reserved=False)
    assert [rule_text(part) for part in parts] == counts
    assert in_force(whole, reserved=True) == []
    ends = {addr for part in parts for addr in (part.addr_min, part.addr_max)} - {bytes(16)}
    ends |= {whole.addr_min, whole.addr_max} - {bytes(16)}
    ends |= {socket.inet_pton(socket.AF_INET6, text) for text in ("::ffff:1:1", "::ffff:c000:201")}
    questions = [Address(socket.AF_INET6, addr, 0, 80, False) for addr in sorted(ends)]
    for question, reply in zip(questions, ask(Identity(UID, support.GID, (), None), questions)):
        mapped = question.addr.startswith(MAPPED)
        point = Rule(socket.AF_INET6, question.addr, question.addr, 80, 80, "tcp")
        covers = not mapped and any(intersect(part, point) for part in parts)
        assert (reply.reason == _wire.REASON_GRANTED) == covers, question


def test_pieces():
    """A range is split where the names of files change."""
    found = [(at.port_min, at.port_max) for at in pieces(parse_spec("1-65535"))]
    assert found == [(1, 511), (512, 1023), (1024, 65535)]


@pytest.mark.parametrize(
    ("folder", "name", "kind"),
    [("byport", "80", Flag), ("byport", "!631,udp", Flag), ("byport", "631", Unknown),
     ("byport", "!80", Unknown), ("byport", "080", Unknown), ("byport", "80,sctp", Unknown),
     ("byaddr", "127.0.0.1:80", Flag), ("byaddr", "127.0.0.1,80,tcp", Flag),
     ("byaddr", "127.0.0.1:80,tcp", Unknown), ("byaddr", "::1,80", Flag),
     ("byaddr", "0:0:0:0:0:0:0:1,80", Flag), ("byaddr", "0::1,80", Unknown),
     ("byaddr", "::ffff:1.2.3.4,80", Unknown), ("byuser", "1000", Owner), ("byuser", "!1000", Owner),
     ("byuser", "alice", Unknown), ("byuser", "01000", Unknown), ("bygroup", "4294967295", Unknown),
     ("byuser", ".1000.pybindctl-new", Unknown), ("byaddr", "80", Unknown),
     ("byport", "127.0.0.1,80", Unknown)],
)  # fmt: skip
def test_names(folder, name, kind):
    """A name that the helper never looks at is Unknown, with the reason."""
    assert isinstance(parse_name(folder, name), kind)


@pytest.mark.parametrize("addr", V4 + V6 + ["2001:0:0:1::1", "1:2:3:4:5:6:7:8", "0:1:2:3:4:5:6:0"])
@pytest.mark.parametrize("port", [80, 631])
def test_flag_names_as_the_helper_spells_them(addr, port):
    """Both spellings are among the names that the helper looks for."""
    question = _question(addr, port, False)
    (reply,) = ask(Identity(UID, support.GID, (), None), [question])
    asked = {step.name for step in reply.steps}
    rule = Rule(int(question.family), question.addr, question.addr, port, port, None)
    mark = "!" if port == 631 else ""
    assert flag_name(rule) in asked
    assert f"byaddr/{mark}{address_name(question.addr, short=False)},{port}" in asked


def test_unsafe_and_broken_files_are_refused():
    """The error for an unsafe or broken file has file and line."""
    rules("byuser/1", "any,80", "any,90-80")
    rules("byuser/2", "any,80", mode=0o666)
    (support.CONFIG / "byuser/3").symlink_to("/etc/passwd")
    rules("byuser/4", *["any,80"] * 200000)
    for name, words in (("1", "line 2"), ("2", "mode 0666"), ("3", "symbolic"), ("4", "1 MiB")):
        with pytest.raises(Invalid) as raised:
            read_rules(f"byuser/{name}")
        assert words in raised.value.lines[0]
    assert read_rules("byuser/5") is None
