# SPDX-License-Identifier: GPL-3.0-or-later
"""Set arithmetic on Rules: intersection, difference, cover. Pure.

A Rule is a box of addresses x ports x protocols. A box minus a box is a list of boxes,
so rule lines can express every result.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from .rule import ANY, Rule

_FAMILIES = ((int(socket.AF_INET), 4), (int(socket.AF_INET6), 16))


def intersect(one: Rule, other: Rule) -> Rule | None:
    """Return the Rule that both cover, or None."""
    if one.protocol and other.protocol and one.protocol != other.protocol:
        return None
    port_min = max(one.port_min, other.port_min)
    port_max = min(one.port_max, other.port_max)
    if port_min > port_max:
        return None
    family, low, high = one.family, one.addr_min, one.addr_max
    if family == ANY:
        family, low, high = other.family, other.addr_min, other.addr_max
    elif other.family != ANY:
        if other.family != family:
            return None
        low, high = max(low, other.addr_min), min(high, other.addr_max)
        if low > high:
            return None
    return Rule(family, low, high, port_min, port_max, one.protocol or other.protocol)


def subtract(rule: Rule, cut: Rule) -> list[Rule]:
    """Return the parts of `rule` that `cut` does not cover; [rule] if they do not meet."""
    common = intersect(rule, cut)
    if common is None:
        return [rule]
    rest = []
    if rule.port_min < common.port_min:
        rest.append(rule._replace(port_max=common.port_min - 1))
    middle = rule._replace(port_min=common.port_min, port_max=common.port_max)
    if rule.protocol != common.protocol:
        rest.append(middle._replace(protocol="udp" if common.protocol == "tcp" else "tcp"))
    rest.extend(_other_addresses(middle._replace(protocol=common.protocol), common))
    if rule.port_max > common.port_max:
        rest.append(rule._replace(port_min=common.port_max + 1))
    return rest


def _other_addresses(rule: Rule, common: Rule) -> list[Rule]:
    if rule.family == common.family == ANY:
        return []
    rest = []
    for family, size in _FAMILIES:
        if rule.family not in (ANY, family):
            continue
        low, high = (rule.addr_min, rule.addr_max) if rule.family else (bytes(size), b"\xff" * size)
        if family != common.family:
            rest.append(rule._replace(family=family, addr_min=low, addr_max=high))
            continue
        if low < common.addr_min:
            end = _moved(common.addr_min, -1)
            rest.append(rule._replace(family=family, addr_min=low, addr_max=end))
        if high > common.addr_max:
            start = _moved(common.addr_max, 1)
            rest.append(rule._replace(family=family, addr_min=start, addr_max=high))
    return rest


def _moved(addr: bytes, by: int) -> bytes:
    return (int.from_bytes(addr, "big") + by).to_bytes(len(addr), "big")


def subtract_all(rules: Iterable[Rule], cuts: Iterable[Rule]) -> list[Rule]:
    """Return the parts of `rules` that none of `cuts` covers."""
    rest = list(rules)
    for cut in cuts:
        rest = [part for rule in rest for part in subtract(rule, cut)]
        if not rest:
            break
    return rest


def covered(rules: Iterable[Rule], by: Iterable[Rule]) -> bool:
    """Tell whether `by` together cover all of `rules`."""
    return not subtract_all(rules, by)


def meets(rules: Iterable[Rule], other: Rule) -> bool:
    """Tell whether one of `rules` meets `other`."""
    return any(intersect(rule, other) for rule in rules)
