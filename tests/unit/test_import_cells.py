# SPDX-License-Identifier: GPL-3.0-or-later
"""An import asks once for each cell: a box that no permission covers only in part."""

import socket

from hypothesis import given, settings
from hypothesis import strategies as st

from pybind.admin.importers import cells
from pybind.model import MAPPED, Address
from pybind.permissions.overlap import subtract_all
from pybind.permissions.rule import ANY, Rule
from pybind.permissions.who import Who

WHO = Who("user", 1000, "alice")
V4 = [bytes(4), b"\0\0\0\1", b"\x7f\0\0\1", b"\x7f\0\0\2", b"\xff" * 4]
V6 = [bytes(16), bytes(15) + b"\1", MAPPED + bytes(4), MAPPED + b"\x7f\0\0\1", MAPPED + b"\xff" * 4]
V6 += [MAPPED[:-1] + b"\xfe" + b"\xff" * 4, b" \1\r\xb8" + bytes(12), b"\xff" * 16]
PORTS = [1, 2, 79, 80, 81, 511, 512, 1023]


@st.composite
def a_rule(draw, single=False):
    family = draw(st.sampled_from([ANY, int(socket.AF_INET), int(socket.AF_INET6)]))
    first, last = sorted(draw(st.lists(st.sampled_from(PORTS), min_size=2, max_size=2)))
    protocol = draw(st.sampled_from([None, None, "tcp", "udp"]))
    if single:
        last = first
    if family == ANY:
        return Rule(ANY, b"", b"", first, last, protocol)
    addresses = V4 if family == socket.AF_INET else V6
    low, high = sorted(draw(st.lists(st.sampled_from(addresses), min_size=2, max_size=2)))
    return Rule(family, low, low if single else high, first, last, protocol)


def corners(box):
    """Yield the corners of a cell as addresses."""
    for addr in (box.addr_min, box.addr_max):
        for port in (box.port_min, box.port_max):
            for udp in {"tcp": [False], "udp": [True]}.get(box.protocol, [False, True]):
                yield Address(box.family, addr, 0, port, udp)


def exactly(rule, address):
    """Tell whether a rule covers an address, without reading a v4-mapped one as IPv4."""
    return (
        rule.protocol in (None, "udp" if address.udp else "tcp")
        and rule.port_min <= address.port <= rule.port_max
        and (
            rule.family == ANY
            or (rule.family == address.family and rule.addr_min <= address.addr <= rule.addr_max)
        )
    )


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(a_rule(), min_size=1, max_size=5), st.lists(a_rule(single=True), max_size=3))
def test_cells(boxes, flags):
    """All corners of a cell have the same permissions; together the cells are the boxes."""
    found = cells.cells(WHO, boxes, flags)
    for cell in found:
        kinds = [address.addr.startswith(MAPPED) for address in corners(cell.box)]
        assert len(set(kinds)) == 1
        assert any(cell.box.addr_min) != (not any(cell.box.addr_max))
        for rule in (*boxes, *flags):
            assert len({exactly(rule, address) for address in corners(cell.box)}) == 1, (cell, rule)
            assert len({cells.covers(rule, address) for address in corners(cell.box)}) == 1
    whole = [cell.box for cell in found]
    assert not subtract_all(boxes, whole)
    assert len(set(whole)) == len(whole)
    for one in found:  # no two cells overlap
        assert sum(exactly(other.box, one.address) for other in found) == 1


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(a_rule(), min_size=1, max_size=4))
def test_joined(boxes):
    """Joined cells cover what the cells covered, in no more pieces."""
    found = [cell.box for cell in cells.cells(WHO, boxes, [])]
    told = cells.joined(found)
    assert len(told) <= len(found)
    assert not subtract_all(told, found)
    assert not subtract_all(found, told)


def test_many():
    """Of a file with very many lines, a sample from its beginning to its end is asked."""
    boxes = [
        Rule(
            int(socket.AF_INET), number.to_bytes(4, "big"), number.to_bytes(4, "big"), 80, 80, None
        )
        for number in range(1 << 24, (1 << 24) + 60000, 2)
    ]
    found = cells.cells(WHO, boxes, [])
    assert 500 < len(found) <= 1024
    assert found[0].box in boxes
