# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of a rule file <-> Rule, by the grammar in pybind(5); decides nothing."""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

from .. import _wire
from ..model import address_word

ANY = 0  # Rule.family of `any`: every IPv4 and every IPv6 address
LINE_LEN_MAX = 255

_BYTES = re.compile(rb"[\t\x20-\x7e]*(?:#[\t\x20-\x7e\x80-\xff]*)?")
_ADDRESSES = re.compile(r"any|([0-9a-fA-F:.]*)(?:-([0-9a-fA-F:.]*)|/([0-9]*))?")
_PORTS = re.compile(r"[ \t]*([0-9]*)(?:-([0-9]*))?")
_OLD_PORTS = re.compile(r"[ \t]*([0-9]*)(?:,[ \t]*([0-9]*))?")
_END = re.compile(r"(?:(/)(tcp|udp)?)?([ \t]*)")
# The form of nearly every line: one address, one port, nothing else.
_PLAIN = re.compile(
    rb"(?:any|([0-9]{1,3}(?:\.[0-9]{1,3}){3})),([1-9][0-9]{0,4})(?:/(?:(tcp)|(udp)))?"
)
_IPV4 = int(socket.AF_INET)


class Rule(NamedTuple):
    """The addresses, ports and protocols that a rule line covers.

    family: ANY, socket.AF_INET or AF_INET6.
    addr_min, addr_max: 4 or 16 bytes in network byte order; empty for ANY.
    port_min, port_max: 0 to 65535, host byte order.
    protocol: "tcp", "udp", or None for both.
    """

    family: int
    addr_min: bytes
    addr_max: bytes
    port_min: int
    port_max: int
    protocol: str | None


class Broken(NamedTuple):
    """A line because of which the helper refuses the whole file. fault: FAULT_* of _wire."""

    fault: int

    @property
    def text(self) -> str:
        """Return the fault in words."""
        return _wire.FAULT_TEXTS[self.fault]


class Line(NamedTuple):
    """One line. raw: without its newline. content: None for a comment or a blank line."""

    number: int
    raw: bytes
    content: Rule | Broken | None


class _FaultError(Exception):
    """A line is broken; args[0] is the FAULT_* number."""


@functools.lru_cache(maxsize=1 << 14)
def parse_line(raw: bytes) -> Rule | Broken | None:
    """Return the content of one line (without its newline); None if it has no rule.

    A host may have a million lines. Most of them are plain, and many are alike: hence
    the short cut and the cache.
    """
    match = _PLAIN.fullmatch(raw)
    return (_plain_rule(match) if match else None) or parse_any_line(raw)


def _plain_rule(match: re.Match[bytes]) -> Rule | None:
    """Return the rule of a plain line; None if it is broken."""
    address, digits, tcp, udp = match.groups()
    port = int(digits)
    if port > 65535:
        return None
    protocol = "tcp" if tcp else "udp" if udp else None
    if address is None:
        return Rule(ANY, b"", b"", port, port, protocol)
    try:
        addr = socket.inet_pton(socket.AF_INET, address.decode("ascii"))
    except OSError:
        return None
    return Rule(_IPV4, addr, addr, port, port, protocol)


def parse_any_line(raw: bytes) -> Rule | Broken | None:
    """Return the same as parse_line(raw), always by the whole grammar."""
    if len(raw) > LINE_LEN_MAX:
        return Broken(_wire.FAULT_TOO_LONG)
    if not _BYTES.fullmatch(raw):
        return Broken(_wire.FAULT_BYTE)
    text = raw.partition(b"#")[0].decode("ascii")
    if not text.strip(" \t"):
        return None
    try:
        return _rule(text)
    except _FaultError as fault:
        return Broken(fault.args[0])


def _rule(text: str) -> Rule:
    match = _ADDRESSES.match(text)
    assert match is not None  # it matches the empty string too
    family, low, high = _addresses(match)
    old_form = (
        family == socket.AF_INET and match[3] is not None and text.startswith(":", match.end())
    )
    if not old_form and not text.startswith(",", match.end()):
        raise _FaultError(_wire.FAULT_SYNTAX)
    ports = (_OLD_PORTS if old_form else _PORTS).match(text, match.end() + 1)
    assert ports is not None
    port_min = _number(ports[1], 65535, _wire.FAULT_PORT)
    if old_form and ports[2] is None:
        raise _FaultError(_wire.FAULT_SYNTAX)
    port_max = port_min
    if ports[2] is not None:
        port_max = _number(ports[2], 65535, _wire.FAULT_PORT)
    if port_min > port_max:
        raise _FaultError(_wire.FAULT_ORDER)
    end = _END.match(text, ports.end())
    assert end is not None
    if end[1] and not end[2]:
        raise _FaultError(_wire.FAULT_PROTOCOL)
    if end.end() != len(text):
        raise _FaultError(_wire.FAULT_SYNTAX)
    return Rule(family, low, high, port_min, port_max, end[2])


def _addresses(match: re.Match[str]) -> tuple[int, bytes, bytes]:
    if match[1] is None:
        return ANY, b"", b""
    family, low = _address(match[1])
    if match[3] is not None:
        bits = len(low) * 8
        length = _number(match[3], bits, _wire.FAULT_LENGTH)
        rest = (1 << (bits - length)) - 1
        value = int.from_bytes(low, "big")
        if value & rest:
            raise _FaultError(_wire.FAULT_HOST_BITS)
        return family, low, (value | rest).to_bytes(len(low), "big")
    if match[2] is None:
        return family, low, low
    max_family, high = _address(match[2])
    if max_family != family or low > high:
        raise _FaultError(_wire.FAULT_ORDER)
    return family, low, high


def _address(text: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return int(family), socket.inet_pton(family, text)
    except OSError:
        raise _FaultError(_wire.FAULT_ADDRESS) from None


def _number(digits: str, limit: int, over: int) -> int:
    if not digits or (len(digits) > 1 and digits[0] == "0"):
        raise _FaultError(_wire.FAULT_SYNTAX)
    if len(digits) > 5 or int(digits) > limit:
        raise _FaultError(over)
    return int(digits)


def parse(data: bytes) -> list[Line]:
    """Return the lines of a rule file, broken ones too. data: the contents of the file."""
    raws = data.split(b"\n")
    if not raws[-1]:
        raws.pop()  # nothing follows the last newline
    return [Line(at, raw, parse_line(raw)) for at, raw in enumerate(raws, 1)]


def rule_text(rule: Rule) -> str:
    """Return the rule as a line: any,80-90/tcp or 192.0.2.0/24,443."""
    protocol = f"/{rule.protocol}" if rule.protocol else ""
    return f"{addresses_text(rule)},{ports_text(rule)}{protocol}"


def ports_text(rule: Rule) -> str:
    """Return the rule's ports: 80 or 80-90."""
    return f"{rule.port_min}" + (f"-{rule.port_max}" if rule.port_max != rule.port_min else "")


def addresses_text(rule: Rule) -> str:
    """Return the rule's addresses: any, ADDRESS, ADDRESS/LENGTH or ADDRESS-ADDRESS."""
    if rule.family == ANY:
        return "any"
    low = address_word(rule.addr_min)
    if rule.addr_min == rule.addr_max:
        return low
    first, last = (int.from_bytes(addr, "big") for addr in (rule.addr_min, rule.addr_max))
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return f"{low}/{len(rule.addr_min) * 8 - size.bit_length() + 1}"
    return f"{low}-{address_word(rule.addr_max)}"


def address_name(addr: bytes, short: bool = True) -> str:
    """Return an address as the helper spells it in file names.

    addr: 4 or 16 bytes in network byte order. short: with '::' for the longest run of
    zero groups. Not inet_ntop(3), which differs between libcs.
    """
    if len(addr) == 4:
        return ".".join(map(str, addr))
    groups = [int.from_bytes(addr[at : at + 2], "big") for at in range(0, 16, 2)]
    words = [f"{group:x}" for group in groups]
    runs = [(length, -at) for at, length in _zero_runs(groups) if length >= 2]
    if not short or not runs:
        return ":".join(words)
    length, start = max(runs)
    start = -start
    if (start, length) == (0, 6):
        return "::" + address_name(addr[12:])
    return ":".join(words[:start]) + "::" + ":".join(words[start + length :])


def _zero_runs(groups: list[int]) -> Iterator[tuple[int, int]]:
    for at, group in enumerate(groups):
        if group == 0 and (at == 0 or groups[at - 1] != 0):
            length = 0
            while at + length < len(groups) and groups[at + length] == 0:
                length += 1
            yield at, length
