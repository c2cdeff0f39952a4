# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads lines of a byuid file like authbind 2.1.3, and writes each as a strict line.

authbind reads with fgets(3), in pieces of 298 bytes, and sscanf(3). So signs, leading
zeros and blanks pass; numbers wrap at 32 bits; a NUL ends a line; and the tail of a long
line counts as a line. authbind skips a line that it does not understand. Here such a line
would make the helper refuse the whole file (pybind(5)).
"""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from ...permissions.rule import Broken, Rule, parse_line, rule_text

_PIECE = 298  # fgets(3) with a buffer of 299
LIBRARY_PORT_MAX = 1023  # libauthbind never asks about a higher port
_S, _U = rb"[ \t\n\v\f\r]*", rb"([+-]?[0-9]+)"  # blanks, and %u of scanf(3), which skips them
_OLD_FORM = re.compile(
    _S + _U + (rb"\." + _S + _U) * 3 + b"/" + _S + _U + b":" + _S + _U + b"," + _S + _U + _S
)
_ONE = re.compile(_S + _U + _S)
_TWO = re.compile(_S + _U + b"-" + _S + _U + _S)
_COMMENT_MAX = 255


class Meaning(NamedTuple):
    """A rule that authbind reads in a line. odd: why nobody can have meant that rule, or ""."""

    rule: Rule
    odd: str


class AuthbindLine(NamedTuple):
    """One line of the file. raw: without its newline. meanings: the rules that authbind reads."""

    number: int
    raw: bytes
    meanings: list[Meaning]


class Carried(NamedTuple):
    """One line as it is written here.

    note: how the line was changed, or "". kept: the line is still a rule.
    """

    text: bytes
    note: str
    kept: bool


def read(data: bytes) -> list[AuthbindLine]:
    """Return the lines of a file with their meanings for authbind."""
    raws = data.split(b"\n")
    whole = [raw + b"\n" for raw in raws[:-1]] + ([raws[-1]] if raws[-1] else [])
    lines = []
    for number, line in enumerate(whole, 1):
        pieces = [line[at : at + _PIECE] for at in range(0, len(line), _PIECE)]
        meanings = []
        for at, piece in enumerate(pieces):
            meaning = _meaning(piece.partition(b"\0")[0])
            if meaning and at:
                tail = f"authbind takes the line from byte {at * _PIECE + 1} on for a rule"
                meaning = meaning._replace(odd=meaning.odd or tail)
            meanings += [meaning] if meaning else []
        lines.append(AuthbindLine(number, line.rstrip(b"\n"), meanings))
    return lines


def carry(line: AuthbindLine) -> Carried:
    """Return a line that means the same here as for authbind, or a comment with the reason."""
    ours = parse_line(line.raw)
    sound = [meaning.rule for meaning in line.meanings if not meaning.odd]
    if not line.meanings and ours is None:
        return Carried(line.raw, "", False)
    if not sound:
        why = line.meanings[0].odd if line.meanings else _why(ours)
        return Carried(_comment(line.raw, why), f"is not carried over: {why}", False)
    rule = sound[0]
    if rule.port_min > LIBRARY_PORT_MAX:
        why = "authbind never serves ports from 1024 on"
        return Carried(_comment(line.raw, why), f"is not carried over: {why}", False)
    if ours == rule and rule.port_max <= LIBRARY_PORT_MAX:
        return Carried(line.raw, "", True)
    rule = rule._replace(port_max=min(rule.port_max, LIBRARY_PORT_MAX))
    text = rule_text(rule)
    return Carried(text.encode(), f"becomes {text}", True)


def rule_alone(carried: Carried) -> list[bytes]:
    """Return the rule of a line without its comment; nothing where it is none."""
    rule = parse_line(carried.text) if carried.kept else None
    return [rule_text(rule).encode()] if isinstance(rule, Rule) else []


def _why(ours: Rule | Broken | None) -> str:
    if isinstance(ours, Broken):
        return f"authbind skips it; {ours.text}"
    return "authbind skips it; here it would grant something"


def _comment(raw: bytes, why: str) -> bytes:
    """Return a comment that the strict reader accepts."""
    text = raw.decode("ascii", "backslashreplace").replace("\t", " ")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"# not carried over ({why}): {shown}".encode()[:_COMMENT_MAX]


class _Numbers:
    """Reads numbers like authbind. odd: the first number that authbind reads as another one."""

    def __init__(self) -> None:
        self.odd = ""

    def __call__(self, digits: bytes) -> int:
        """Return the number that %u stores: strtoul(3) saturates at 64 bits, and 32 are kept."""
        value = int(digits[:40])  # int() refuses very long numbers; 40 digits saturate already
        stored = (min(value, 2**64 - 1) if value >= 0 else value) & 0xFFFFFFFF
        if stored != value:
            self.odd = self.odd or f"authbind reads {digits.decode()[:24]} as {stored}"
        return stored


def _meaning(text: bytes) -> Meaning | None:
    """Return the meaning of one piece; None if authbind grants nothing by it."""
    number = _Numbers()
    match = _OLD_FORM.fullmatch(text)
    if match:
        *bytes4, length, first, last = map(number, match.groups())
        if max(bytes4) > 255 or length > 32 or max(first, last) > 65535:
            return None
        addresses = _prefix(bytes(bytes4), length)
        return _made(socket.AF_INET, addresses, (first, last), number.odd)
    where, comma, ports = text.partition(b",")
    if not comma:
        return None
    numbers = _TWO.fullmatch(ports) or _ONE.fullmatch(ports)
    if not numbers:
        return None
    span = [number(digits) for digits in numbers.groups()]
    for family in (socket.AF_INET, socket.AF_INET6):
        addresses = _addresses(family, where, number)
        if addresses:
            return _made(family, addresses, (span[0], span[-1]), number.odd)
    return None


def _made(
    family: int, addresses: tuple[bytes, bytes] | None, ports: tuple[int, int], odd: str
) -> Meaning | None:
    first, last = ports[0], min(ports[1], 65535)
    if addresses is None or first > last:
        return None
    return Meaning(Rule(int(family), *addresses, first, last, None), odd)


def _addresses(family: int, where: bytes, number: _Numbers) -> tuple[bytes, bytes] | None:
    low, slash, length = where.partition(b"/")
    if slash and b"-" in where:
        return None
    if slash:
        match, addr = _ONE.fullmatch(length), _pton(family, low)
        if not match or addr is None:
            return None
        bits = number(match[1])
        if bits >= 1 << 31:  # a negative int for authbind, whose shift is undefined behaviour
            number.odd = number.odd or "authbind takes the length for a negative number"
            bits = 8
        return _prefix(addr, bits) if bits <= len(addr) * 8 else None
    first, _, last = where.partition(b"-")
    ends = _pton(family, first), _pton(family, last if b"-" in where else first)
    if ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        return None
    return ends[0], ends[1]


def _prefix(addr: bytes, length: int) -> tuple[bytes, bytes] | None:
    rest = (1 << (len(addr) * 8 - length)) - 1
    value = int.from_bytes(addr, "big")
    if value & rest:
        return None  # bits beyond the length: authbind's comparison never holds
    return addr, (value | rest).to_bytes(len(addr), "big")


def _pton(family: int, text: bytes) -> bytes | None:
    try:
        return socket.inet_pton(family, text.decode("ascii"))
    except (OSError, ValueError):
        return None
