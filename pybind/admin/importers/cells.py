# SPDX-License-Identifier: GPL-3.0-or-later
"""Which questions to ask so that none is left out on which two answers can differ. Pure.

A permission is a box of addresses x ports x protocols (a Rule), here and in
every program that we import from. The edges of all boxes cut what can be asked
into cells, and inside a cell every question has the same answer: one question
for each cell that a box covers is all of them. Three addresses are cells of
their own: 0.0.0.0, ::, and the mapped form of an IPv4 address, which pybind(5)
judges in ways of its own.
"""

from __future__ import annotations

import socket
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...model import MAPPED, Address
from ...permissions.rule import ANY, Rule
from ...permissions.spec import spec_text
from ...permissions.who import Who

_IPV4, _IPV6 = int(socket.AF_INET), int(socket.AF_INET6)
_MAPPED_MIN = int.from_bytes(MAPPED + bytes(4), "big")
_V4_END, _V6_END = 1 << 32, 1 << 128
_EACH_MAX = 1024  # questions about one user; beyond it every k-th is asked


class Cell(NamedTuple):
    """Questions with one answer. box: of one family; its lowest corner is what is asked."""

    who: Who
    box: Rule

    @property
    def address(self) -> Address:
        """Return the question."""
        box = self.box
        return Address(box.family, box.addr_min, 0, box.port_min, box.protocol == "udp")

    @property
    def text(self) -> str:
        """Return all that is in it as a SPEC."""
        return spec_text(self.box)


def cells(who: Who, boxes: Iterable[Rule], flags: Iterable[Rule]) -> list[Cell]:
    """Return what to ask about `who`, at most _EACH_MAX cells.

    boxes: what `who` is, or may be, granted. flags: of all flag files, which
    decide for everybody.
    """
    found = list(_cells(who, list(dict.fromkeys(boxes)), list(dict.fromkeys(flags))))
    return found[:: -(-len(found) // _EACH_MAX)] if found else []


def _cells(who: Who, boxes: Sequence[Rule], flags: Sequence[Rule]) -> Iterator[Cell]:
    flags_at: dict[int, list[Rule]] = {}
    for flag in flags:
        flags_at.setdefault(flag.port_min, []).append(flag)
    for low, high, active in _port_ranges(boxes, sorted(flags_at)):
        cuts = [*active, *flags_at.get(low, [])]
        protocols: list[str | None] = (
            ["tcp", "udp"] if any(cut.protocol for cut in cuts) else [None]
        )
        for protocol in protocols:
            inside = [box for box in active if protocol is None or box.protocol in (None, protocol)]
            for family, first, last in _address_ranges(inside, cuts):
                size = 4 if family == _IPV4 else 16
                ends = first.to_bytes(size, "big"), last.to_bytes(size, "big")
                yield Cell(who, Rule(family, *ends, low, high, protocol))


def _port_ranges(
    boxes: Sequence[Rule], flagged: Sequence[int]
) -> Iterator[tuple[int, int, list[Rule]]]:
    """Yield the ranges of ports with the same boxes, each flag file's port alone."""
    edges = {edge for box in boxes for edge in (max(1, box.port_min), box.port_max + 1)}
    edges.update(port + step for port in flagged for step in (0, 1))
    ports = sorted(edges)
    active: list[list[Rule]] = [[] for _ in ports]
    for box in boxes:
        for at in range(
            bisect_left(ports, max(1, box.port_min)), bisect_left(ports, box.port_max + 1)
        ):
            active[at].append(box)
    for low, end, inside in zip(ports, ports[1:], active):
        if inside:
            yield low, end - 1, inside


def _address_ranges(inside: Sequence[Rule], cuts: Sequence[Rule]) -> Iterator[tuple[int, int, int]]:
    """Yield (family, first, last) of the addresses that `inside` covers, cut at all edges."""
    for family, end in ((_IPV4, _V4_END), (_IPV6, _V6_END)):
        edges = {0, 1, end}
        if family == _IPV6:
            edges |= {_MAPPED_MIN, _MAPPED_MIN + 1, _MAPPED_MIN + _V4_END}
        edges.update(e for cut in cuts for f, *ends in _spans(cut) if f == family for e in ends)
        covered = _merged(
            [(low, high) for box in inside for f, low, high in _spans(box) if f == family]
        )
        steps = sorted(edges)
        at = 0
        for low, high in zip(steps, steps[1:]):
            while at < len(covered) and covered[at][1] <= low:
                at += 1
            if at < len(covered) and covered[at][0] <= low:
                yield family, low, high - 1


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (first, end) of what the spans cover, sorted and apart from each other."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


def _spans(rule: Rule) -> list[tuple[int, int, int]]:
    """Return (family, first, end) of a rule; of IPv4 addresses their mapped form too."""
    if rule.family == ANY:
        return [(_IPV4, 0, _V4_END), (_IPV6, 0, _V6_END)]
    low, end = int.from_bytes(rule.addr_min, "big"), int.from_bytes(rule.addr_max, "big") + 1
    if rule.family == _IPV6:
        return [(_IPV6, low, end)]
    return [(_IPV4, low, end), (_IPV6, _MAPPED_MIN + low, _MAPPED_MIN + end)]


def joined(found: Iterable[Rule]) -> list[Rule]:
    """Return boxes of addresses and ports with those that touch made one."""
    by_address: list[Rule] = []
    for box in sorted(found, key=lambda box: (box.protocol or "", box[0], *box[3:5], box[1])):
        last = by_address[-1] if by_address else None
        if last and (last.family, *last[3:]) == (box.family, *box[3:]) and _follows(last, box):
            by_address[-1] = last._replace(addr_max=box.addr_max)
        else:
            by_address.append(box)
    whole: list[Rule] = []
    for box in sorted(by_address, key=lambda box: (box.protocol or "", *box[:3], box.port_min)):
        last = whole[-1] if whole else None
        same = last and (*last[:3], last.protocol) == (*box[:3], box.protocol)
        if last and same and last.port_max + 1 == box.port_min:
            whole[-1] = last._replace(port_max=box.port_max)
        else:
            whole.append(box)
    return whole


def _follows(one: Rule, other: Rule) -> bool:
    return int.from_bytes(one.addr_max, "big") + 1 == int.from_bytes(other.addr_min, "big")


def covers(rule: Rule, address: Address) -> bool:
    """Tell whether a rule is about an address; a mapped one counts as the IPv4 address inside."""
    addr = address.addr[12:] if address.addr.startswith(MAPPED) else address.addr
    return (
        rule.protocol in (None, "udp" if address.udp else "tcp")
        and rule.port_min <= address.port <= rule.port_max
        and (
            rule.family == ANY
            or (len(rule.addr_min) == len(addr) and rule.addr_min <= addr <= rule.addr_max)
        )
    )
