# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses questions so that two sets of permissions cannot differ unseen. Pure.

A permission is a box of addresses x ports x protocols (a Rule), here and in every
program that we import from. The edges of all boxes cut the possible questions into cells.
All questions of a cell have the same answer, so one question for each cell is enough.
Three kinds of addresses are cells of their own, because pybind(5) judges them in special
ways: 0.0.0.0, ::, and the mapped form of an IPv4 address.
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
_EACH_MAX = 1024  # questions about one user; of more, only every k-th is asked


class Cell(NamedTuple):
    """Questions with the same answer. box: all of them; of one family."""

    who: Who
    box: Rule

    @property
    def address(self) -> Address:
        """Return the question that is asked: the lowest corner of the box."""
        box = self.box
        return Address(box.family, box.addr_min, 0, box.port_min, box.protocol == "udp")

    @property
    def text(self) -> str:
        """Return the box as a SPEC."""
        return spec_text(self.box)


def cells(who: Who, boxes: Iterable[Rule], flags: Iterable[Rule]) -> list[Cell]:
    """Return the cells to ask about `who`, at most _EACH_MAX.

    boxes: the ports that `who` is, or may be, granted. flags: the rules of all flag files,
    which decide for everybody.
    """
    every = list(_cells(who, list(dict.fromkeys(boxes)), list(dict.fromkeys(flags))))
    return every[:: -(-len(every) // _EACH_MAX)] if every else []


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
    """Yield ranges of ports that the same boxes cover; each flag file's port is a range alone."""
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
    """Return the union of spans (first, end), sorted, without overlaps."""
    union: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if union and low <= union[-1][1]:
            union[-1] = union[-1][0], max(high, union[-1][1])
        else:
            union.append((low, high))
    return union


def _spans(rule: Rule) -> list[tuple[int, int, int]]:
    """Return the addresses of a rule as (family, first, end); for IPv4 also the mapped form."""
    if rule.family == ANY:
        return [(_IPV4, 0, _V4_END), (_IPV6, 0, _V6_END)]
    low, end = int.from_bytes(rule.addr_min, "big"), int.from_bytes(rule.addr_max, "big") + 1
    if rule.family == _IPV6:
        return [(_IPV6, low, end)]
    return [(_IPV4, low, end), (_IPV6, _MAPPED_MIN + low, _MAPPED_MIN + end)]


def joined(boxes: Iterable[Rule]) -> list[Rule]:
    """Return the boxes, with neighbours joined to one box."""
    by_address: list[Rule] = []
    for box in sorted(boxes, key=lambda box: (box.protocol or "", box[0], *box[3:5], box[1])):
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
    """Tell whether a rule covers an address; a mapped address counts as its IPv4 address."""
    addr = address.addr[12:] if address.addr.startswith(MAPPED) else address.addr
    return (
        rule.protocol in (None, "udp" if address.udp else "tcp")
        and rule.port_min <= address.port <= rule.port_max
        and (
            rule.family == ANY
            or (len(rule.addr_min) == len(addr) and rule.addr_min <= addr <= rule.addr_max)
        )
    )
