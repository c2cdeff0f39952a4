# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads port specifications: [ADDR:]PORT[/PROTO] -> Listed.

Pure but for two look-ups of names: services(5) and interface names.
"""

from __future__ import annotations

import re
import socket

from .errors import UsageError
from .model import Listed

_SPEC = re.compile(
    r"(?:(?P<addr>\[[^\]]*\]|[^:\[\]/]*):)?(?P<port>[^:/\[\]]*)(?:/(?P<protocol>.*))?", re.S
)
PROTOCOLS = ("tcp", "udp")


def parse_listed(text: str) -> Listed:
    """Return what one --port means.

    Raises UsageError, with the part that is wrong.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise UsageError(
            f"bad port {text!r}: write [ADDR:]PORT[/PROTO], an IPv6 address in brackets, "
            "such as 80, http, 127.0.0.1:80, [::1]:443/tcp"
        )
    protocol = match["protocol"]
    if protocol is not None and protocol not in PROTOCOLS:
        raise UsageError(f"bad port {text!r}: protocol {protocol!r} is neither tcp nor udp")
    port = _parse_port(text, match["port"], protocol)
    addr, scope_id = _parse_address(text, match["addr"])
    return Listed(text, port, addr, scope_id, protocol)


def _parse_port(text: str, word: str, protocol: str | None) -> int:
    if re.fullmatch("[0-9]+", word):
        port = int(word) if len(word) < 10 else 65536
        if port == 0:
            raise UsageError(f"bad port {text!r}: port 0 means any free port and needs no grant")
        if port > 65535:
            raise UsageError(f"bad port {text!r}: ports are 1 to 65535")
        return port
    if not re.fullmatch("[a-z0-9][a-z0-9-]*", word, re.I):
        raise UsageError(f"bad port {text!r}: {word!r} is neither a number nor a service name")
    try:
        return socket.getservbyname(word, protocol) if protocol else socket.getservbyname(word)
    except OSError:
        suffix = f" for {protocol}" if protocol else ""
        raise UsageError(
            f"bad port {text!r}: no service {word!r}{suffix} in /etc/services (Debian: netbase)"
        ) from None


def _parse_address(text: str, word: str | None) -> tuple[bytes | None, int]:
    if word is None or word == "any":
        return None, 0
    if not word.startswith("["):
        try:
            return socket.inet_pton(socket.AF_INET, word), 0
        except (OSError, ValueError):
            raise UsageError(
                f"bad port {text!r}: {word!r} is not an IPv4 address "
                "(host names are not looked up; IPv6 goes in brackets)"
            ) from None
    inner, percent, scope = word[1:-1].partition("%")
    try:
        addr = socket.inet_pton(socket.AF_INET6, inner)
    except (OSError, ValueError):
        raise UsageError(f"bad port {text!r}: {inner!r} is not an IPv6 address") from None
    if not percent:
        return addr, 0
    try:
        return addr, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    except (OSError, ValueError):
        raise UsageError(f"bad port {text!r}: no interface {scope!r}") from None
