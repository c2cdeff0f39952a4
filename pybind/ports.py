# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the values of --port, [NAME=][ADDR:]PORT[/PROTO] -> Listed.

It also checks which options about ports exclude each other. Pure but for two look-ups
of names: services(5) and interface names.
"""

from __future__ import annotations

from ._lean import socket
from .errors import UsageError
from .model import Listed, Request

PROTOCOLS = ("tcp", "udp")
_SCOPE_MAX = 2**32 - 1  # sin6_scope_id
_NAME_LEN_MAX = 255  # FDNAME_MAX of systemd


def parse_named(text: str) -> Listed:
    """Return the Listed of [NAME=][ADDR:]PORT[/PROTO]. Raises UsageError.

    sd_listen_fds(3) has the rules for names: ASCII, no control characters, no colon.
    """
    name, equals, rest = text.partition("=")
    if not equals or text.startswith("["):  # an interface may have '=' in its name
        return parse_listed(text)
    if not name or len(name) > _NAME_LEN_MAX:
        raise UsageError(f"bad port {text!r}: a name has 1 to {_NAME_LEN_MAX} characters")
    if not (name.isascii() and name.isprintable()) or ":" in name:
        raise UsageError(
            f"bad port {text!r}: a name is printable ASCII without a colon (sd_listen_fds(3))"
        )
    return parse_listed(rest)._replace(text=text, name=name)


def check_sockets(request: Request, ways: list[str]) -> Request:
    """Return the request; with --listen or --inetd, each listed port has a protocol then.

    ways: those of --mode, --depth and --deep that are given. Raises UsageError for
    options that exclude each other, and for ports that overlap.
    """
    if not request.gives_sockets:
        _check_without_sockets(request)
        return request
    option = "--inetd" if request.inetd else "--listen"
    if request.listen and request.inetd:
        raise UsageError(
            "--listen and --inetd exclude each other: sockets go from descriptor 3 on, or one "
            "is descriptor 0"
        )
    if ways:
        raise UsageError(
            f"{ways[0]} does not go with {option}: the program is given its sockets, and none "
            "of its own binds is served"
        )
    if not request.listed:
        raise UsageError(f"{option} needs --port: what to listen on")
    if request.inetd and len(request.listed) > 1:
        raise UsageError(
            f"--inetd takes one --port, and {len(request.listed)} are given: there is one "
            "standard input"
        )
    named = _first_named(request)
    if request.inetd and named is not None:
        raise UsageError(f"bad port {named!r}: a name needs --listen, --inetd passes none on")
    listed = tuple(one._replace(protocol=one.protocol or "tcp") for one in request.listed)
    for index, one in enumerate(listed):
        for other in listed[:index]:
            if _overlap(one, other):
                raise UsageError(
                    f"--port {other.text} and --port {one.text} overlap: no two sockets can "
                    "listen there"
                )
    return request._replace(listed=listed)


def _check_without_sockets(request: Request) -> None:
    named = _first_named(request)
    if named is not None:
        raise UsageError(
            f"bad port {named!r}: a name needs --listen, which passes the socket on by it"
        )
    if request.backlog is not None:
        raise UsageError(
            "--backlog needs --listen or --inetd: a program that listens by itself has its own"
        )


def _first_named(request: Request) -> str | None:
    return next((one.text for one in request.listed if one.name is not None), None)


def _overlap(one: Listed, other: Listed) -> bool:
    if (one.port, one.protocol) != (other.port, other.protocol):
        return False
    if one.addr is None or other.addr is None:
        return True
    if len(one.addr) != len(other.addr):
        return False
    same = (one.addr, one.scope_id) == (other.addr, other.scope_id)
    return same or not any(one.addr) or not any(other.addr)


def parse_listed(text: str) -> Listed:
    """Return the Listed of [ADDR:]PORT[/PROTO].

    Raises UsageError, which names the wrong part.
    """
    host, word, protocol = _split(text)
    if protocol is not None and protocol not in PROTOCOLS:
        raise UsageError(f"bad port {text!r}: protocol {protocol!r} is neither tcp nor udp")
    port = _parse_port(text, word, protocol)
    addr, scope_id = _parse_address(text, host)
    return Listed(text, port, addr, scope_id, protocol)


def _split(text: str) -> tuple[str | None, str, str | None]:
    """Return address, port and protocol as they stand in `text`, None where absent."""
    where, slash, protocol = text.partition("/")
    host, colon, port = where.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]") and len(host) > 1
    inner = host[1:-1] if bracketed else host
    if any(c in "[]" for c in inner + port) or (":" in host and not bracketed):
        raise UsageError(
            f"bad port {text!r}: write [ADDR:]PORT[/PROTO], an IPv6 address in brackets, "
            "such as 80, http, 127.0.0.1:80, [::1]:443/tcp"
        )
    return host if colon else None, port, protocol if slash else None


def _parse_port(text: str, word: str, protocol: str | None) -> int:
    if word.isascii() and word.isdigit():
        port = int(word) if len(word) < 10 else 65536
        if port == 0:
            raise UsageError(f"bad port {text!r}: port 0 means any free port and needs no grant")
        if port > 65535:
            raise UsageError(f"bad port {text!r}: ports are 1 to 65535")
        return port
    from . import hints  # only when the port is no number

    several = hints.for_ports(word)
    if several:
        raise UsageError(f"bad port {text!r}", *several)
    if not word.isascii() or not word.replace("-", "").isalnum() or word[0] == "-":
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
    if scope.isascii() and scope.isdigit():
        if len(scope) > len(str(_SCOPE_MAX)) or int(scope) > _SCOPE_MAX:
            raise UsageError(f"bad port {text!r}: interface numbers are 0 to {_SCOPE_MAX}")
        return addr, int(scope)
    try:
        return addr, socket.if_nametoindex(scope)
    except (OSError, ValueError):
        raise UsageError(f"bad port {text!r}: no interface {scope!r}") from None
