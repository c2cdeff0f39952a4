# SPDX-License-Identifier: GPL-3.0-or-later
"""SPEC -> Rule: the [ADDR:]PORT[/PROTO] of `pybind --port`, with ranges and prefixes.

Examples: 80, http, 443/tcp, 8000-8010, any:80, 127.0.0.1:80, [::1]:443/tcp,
192.0.2.0/24:443, [2001:db8::]/32:443, 192.0.2.5-192.0.2.9:80,
[2001:db8::5]-[2001:db8::9]:80.
"""

from __future__ import annotations

import re
import socket

from ..model import MAPPED, Address, address_word
from ..ports import parse_listed
from .errors import AdminError
from .rule import ANY, Broken, Rule, addresses_text, parse_line, ports_text

_SPEC = re.compile(
    r"(?:(?P<low>\[[^\]]*\]|[^:\[\]/-]*)(?:/(?P<length>[^:]*)|-(?P<high>\[[^\]]*\]|[^:]*))?:)?"
    r"(?P<ports>[^:/\[\]]*)(?P<protocol>/.*)?",
    re.S,
)
_FORMS = "80, http, 443/tcp, 8000-8010, 127.0.0.1:80, [::1]:443, 192.0.2.0/24:443"


def parse_spec(text: str) -> Rule:
    """Return the Rule of one SPEC.

    Raises AdminError or pybind.errors.UsageError, which name the wrong part.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise AdminError(f"bad port {text!r}: write one such as {_FORMS}")
    ports = re.fullmatch("([0-9]+)-([0-9]+)", match["ports"])
    words = [ports[1], ports[2]] if ports else [match["ports"]]
    address, protocol = match["low"], match["protocol"] or ""
    prefix = f"{address}:" if address is not None else ""
    # parse_listed() has the grammar of each part, and its messages.
    first = parse_listed(f"{prefix}{words[0]}{protocol}")
    last = parse_listed(f"{words[-1]}{protocol}")
    if first.port > last.port:
        raise AdminError(
            f"bad port {text!r}: the range runs backwards; write {last.port}-{first.port}"
        )
    family, low, high = _addresses(text, match, first.addr)
    if first.scope_id:
        raise AdminError(
            f"bad port {text!r}: a rule holds on every interface; leave out %"
            + address.partition("%")[2].rstrip("]")
        )
    return Rule(family, low, high, first.port, last.port, first.protocol)


def _addresses(text: str, match: re.Match[str], addr: bytes | None) -> tuple[int, bytes, bytes]:
    length, last = match["length"], match["high"]
    if addr is None:
        if length is not None or last is not None:
            raise AdminError(f"bad port {text!r}: a prefix or range needs an address before it")
        return ANY, b"", b""
    if addr.startswith(MAPPED):
        return _mapped(text, addr, length, last)
    word = address_word(addr)
    if length is not None:
        word += f"/{length}"
    if last is not None:
        high = parse_listed(f"{last}:1").addr
        if high is None:
            raise AdminError(f"bad port {text!r}: {last!r} is no address")
        word += "-" + address_word(high)
    rule = parse_line(f"{word},1".encode())
    if not isinstance(rule, Rule):
        why = rule.text if isinstance(rule, Broken) else "not an address"
        raise AdminError(f"bad port {text!r}: {why}", *_host_bits(word, length))
    return rule.family, rule.addr_min, rule.addr_max


def _host_bits(word: str, length: str | None) -> tuple[str, ...]:
    """Return a hint with the prefix that was probably meant; or no hint."""
    address = word.partition("/")[0]
    if length is None or not re.fullmatch("[0-9]{1,3}", length):
        return ()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    addr = socket.inet_pton(family, address)
    bits = len(addr) * 8
    if int(length) > bits:
        return ()
    mask = (1 << bits) - (1 << (bits - int(length)))
    network = (int.from_bytes(addr, "big") & mask).to_bytes(len(addr), "big")
    if network == addr:
        return ()
    name = address_word(network)
    return (f"the prefix is {f'[{name}]' if ':' in name else name}/{length}",)


def _mapped(
    text: str, addr: bytes, length: str | None, last: str | None
) -> tuple[int, bytes, bytes]:
    """Return the IPv4 address in a mapped one: the helper judges by that address."""
    if length is not None or last is not None:
        raise AdminError(f"bad port {text!r}: write a prefix or range of mapped addresses as IPv4")
    return int(socket.AF_INET), addr[12:], addr[12:]


def spec_text(rule: Rule) -> str:
    """Return a rule as a SPEC that parse_spec() reads back: 192.0.2.0/24:443/tcp."""
    tail = ports_text(rule) + (f"/{rule.protocol}" if rule.protocol else "")
    if rule.family == ANY:
        return tail
    where = addresses_text(rule)
    if rule.family == socket.AF_INET6:
        where = re.sub(r"[0-9a-f:.]*:[0-9a-f:.]*", r"[\g<0>]", where)
    return f"{where}:{tail}"


def samples(rule: Rule) -> list[Address]:
    """Return addresses to ask the helper about, to see whether a rule counts.

    They are the first and last address with the first and last port, for each protocol.
    ANY: 0.0.0.0 and ::. For a range from :: on, ::1 stands for ::, because a bind of ::
    needs a grant for 0.0.0.0 too.
    """
    corners = [(rule.family, rule.addr_min), (rule.family, rule.addr_max)]
    if rule.family == ANY:
        corners = [(socket.AF_INET, bytes(4)), (socket.AF_INET6, bytes(16))]
    elif rule.addr_min == bytes(16) != rule.addr_max:
        corners[0] = (rule.family, bytes(15) + b"\1")
    protocols = [rule.protocol] if rule.protocol else ["tcp", "udp"]
    return [
        Address(int(family), addr, 0, port, protocol == "udp")
        for port in dict.fromkeys((rule.port_min, rule.port_max))
        for family, addr in dict.fromkeys(corners)
        for protocol in protocols
    ]
