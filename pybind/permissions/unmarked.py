# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds files that would grant a port if their names had a '!', or had none.

The names of files for ports 512 to 1023 have a '!' (pybind(5)). The helper never asks
a file for such a port without the '!', nor a file for another port with it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence

from ..model import MAPPED, Address
from . import reading
from .folders import path_of
from .names import flag_name, is_reserved
from .overlap import meets
from .rule import ANY, Rule
from .who import group_of, rules_name, user_of

_IPV4_LEN = 4


def unmarked(address: Address, uid: int, gids: Sequence[int]) -> list[str]:
    """Return a sentence for each such file about this address and user.

    gids: all groups of the user.
    """
    rule = _rule(address)
    reserved = is_reserved(address.port)
    wanted = "a '!' in" if reserved else "no '!' in"
    notes = [
        f"{path_of(other)} is not looked at: a file for port {address.port} has {wanted} its name"
        for other in map(_other, _flags(rule))
        if os.path.lexists(path_of(other))
    ]
    for who in (user_of(uid), *map(group_of, gids)):
        other = rules_name(who, not reserved)
        if _covers(other, rule):
            notes.append(
                f"{path_of(other)} has a line for it that does not count: a rule for port "
                f"{address.port} belongs in {path_of(rules_name(who, reserved))}"
            )
    return notes


def _rule(address: Address) -> Rule:
    addr = address.addr[12:] if address.addr.startswith(MAPPED) else address.addr
    family = int(socket.AF_INET if len(addr) == _IPV4_LEN else socket.AF_INET6)
    protocol = "udp" if address.udp else "tcp"
    return Rule(family, addr, addr, address.port, address.port, protocol)


def _flags(rule: Rule) -> Iterator[str]:
    everywhere = rule._replace(family=ANY, addr_min=b"", addr_max=b"")
    for one in (everywhere, rule):
        yield flag_name(one)
        yield flag_name(one._replace(protocol=None))


def _other(name: str) -> str:
    """Return a name with the '!' added or taken away."""
    folder, _, file = name.partition("/")
    return f"{folder}/{file[1:] if file.startswith('!') else '!' + file}"


def _covers(name: str, rule: Rule) -> bool:
    try:
        lines, _ = reading.read_rule_file(name, path_of(name))
    except OSError:
        return False
    return meets([line.content for line in lines if isinstance(line.content, Rule)], rule)
