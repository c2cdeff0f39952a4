# SPDX-License-Identifier: GPL-3.0-or-later
"""Request and Target -> Plan: the arguments and the environment for execve(2) (pure).

The program gets the caller's environment byte for byte, with order and duplicates.
pybind changes only LD_PRELOAD, PYBIND_* and LISTEN_*.
"""

from __future__ import annotations

from ._lean import TYPE_CHECKING, fsdecode
from .errors import UsageError
from .model import MAPPED, Address, Listed, Plan, Request, Target

if TYPE_CHECKING:
    import re

_OURS = (b"PYBIND_PORTS=", b"PYBIND_DEPTH=", b"PYBIND_VERBOSE=")
_PORTS_LEN_MAX = 8191  # bytes that helpers/preload/limits.c has room for
LISTEN_FDS_START = 3  # sd_listen_fds(3)
# Newer systemd sets LISTEN_PIDFDID; left over, it would contradict our LISTEN_PID.
_LISTEN = (b"LISTEN_FDS=", b"LISTEN_PID=", b"LISTEN_FDNAMES=", b"LISTEN_PIDFDID=")
_UNNAMED = "unknown"  # systemd's name for a descriptor without a name


def plain(request: Request, target: Target, environ: tuple[bytes, ...]) -> Plan:
    """Plan to start the program as if pybind were not there."""
    return Plan(target.path, request.argv, environ)


def sockets(request: Request, target: Target, environ: tuple[bytes, ...], pid: int) -> Plan:
    """Plan to start the program with sockets, like systemd (sd_listen_fds(3)).

    pid: the pid that the program will have. With --inetd the program gets no LISTEN_*.
    Raises UsageError, as fill_descriptors() does.
    """
    rest = [entry for entry in environ if not entry.startswith(_LISTEN)]
    if request.listen:
        names = ":".join(listed.name or _UNNAMED for listed in request.listed)
        rest += [
            b"LISTEN_FDS=%d" % len(request.listed),
            b"LISTEN_PID=%d" % pid,
            b"LISTEN_FDNAMES=" + names.encode(),
        ]
    return Plan(target.path, fill_descriptors(request), tuple(rest))


def first_descriptor(request: Request) -> int:
    """Return the number of the first socket's descriptor in the program."""
    return 0 if request.inetd else LISTEN_FDS_START


def fill_descriptors(request: Request) -> tuple[bytes, ...]:
    """Return the program's argv with the socket's number in place of {fd} and {fd:NAME}.

    Raises UsageError for one that does not name exactly one socket.
    """
    if not any(b"{fd" in word for word in request.argv[1:]):
        return request.argv
    import re  # importing it takes longer than a whole launch

    place = re.compile(rb"\{fd(?::([^{}]*))?\}")
    sockets = [
        (fd, listed.name) for fd, listed in enumerate(request.listed, first_descriptor(request))
    ]

    def number(match: re.Match[bytes]) -> bytes:
        word, name = fsdecode(match[0]), match[1] and fsdecode(match[1])
        if not request.gives_sockets:
            raise UsageError(
                f"{word} stands for the descriptor of a socket, and without --listen or --inetd "
                "the program is given none",
                "a program that needs the word itself gets it from a script around it",
            )
        fds = [fd for fd, its_name in sockets if name in (None, its_name)]
        if not fds:
            raise UsageError(f"{word}: no --port has that name (--port NAME=PORT)")
        if len(fds) > 1:
            raise UsageError(
                f"{word} could be any of {len(fds)} sockets",
                "name them, each differently: --port NAME=PORT and {fd:NAME}",
            )
        return b"%d" % fds[0]

    return (*request.argv[:1], *(place.sub(number, word) for word in request.argv[1:]))


def preload(request: Request, target: Target, environ: tuple[bytes, ...], library: bytes) -> Plan:
    """Plan to start the program with the preload library.

    Raises UsageError when more ports are listed than the library has room for.
    """
    ours = []
    text = limits(request, environ)
    if text is not None:
        if len(text) > _PORTS_LEN_MAX:
            raise UsageError("too many ports are listed")
        ours.append(b"PYBIND_PORTS=" + text)
    if request.depth is not None:
        ours.append(b"PYBIND_DEPTH=%d" % request.depth)
    if request.verbose:
        ours.append(b"PYBIND_VERBOSE=1")
    rest = tuple(entry for entry in environ if not entry.startswith(_OURS))
    return Plan(target.path, request.argv, (*_with_preload(rest, library), *ours))


def limits(request: Request, environ: tuple[bytes, ...]) -> bytes | None:
    """Return the value of PYBIND_PORTS; None if every granted port is served."""
    outer = _value(environ, b"PYBIND_PORTS=")
    lists = [] if outer is None else [outer]
    if request.listed:
        lists.append(b",".join(encode_limit(listed) for listed in request.listed))
    return b"|".join(lists) if lists else None


def limits_exclude(text: bytes | None, address: Address) -> str | None:
    """Return why `address` is not served: "port", "protocol" or "address"; None if it is.

    The word says what differs from the nearest listed port. text: as limits() returns
    it. Where the library serves the program, limits.c does the same.
    """
    protocol = "udp" if address.udp else "tcp"
    want = encode_limit(Listed("", address.port, address.addr, 0, protocol))
    for entries in text.split(b"|") if text is not None else ():
        if _any_covers(entries, want):
            continue
        same_port = [entry for entry in entries.split(b",") if entry[:4] == want[:4]]
        if not same_port:
            return "port"
        return "address" if any(_same_protocol(e, want) for e in same_port) else "protocol"
    return None


def encode_limit(listed: Listed) -> bytes:
    """Return one entry of PYBIND_PORTS; helpers/preload/limits.c describes its form."""
    protocol = {None: "b", "tcp": "t", "udp": "u"}[listed.protocol]
    addr = listed.addr
    if addr is None:
        where = "*"
    elif len(addr) == 4 or addr.startswith(MAPPED):
        where = "4" + addr[-4:].hex()
    else:
        where = "6" + addr.hex()
    return f"{listed.port:04x}{protocol}{where}".encode()


def is_nested(environ: tuple[bytes, ...], library: bytes) -> bool:
    """Tell whether a pybind is around this one: its library serves the binds of this one."""
    present = _value(environ, b"LD_PRELOAD=") or b""
    return library in present.replace(b" ", b":").split(b":")


def outer_limit_excludes(listed: Listed, environ: tuple[bytes, ...]) -> bool:
    """Tell whether a pybind around this one serves less than `listed`.

    The proof here would pass, but the library in the program would refuse the bind.
    """
    outer = _value(environ, b"PYBIND_PORTS=")
    want = encode_limit(listed)
    return outer is not None and not all(_any_covers(e, want) for e in outer.split(b"|"))


def _any_covers(entries: bytes, want: bytes) -> bool:
    return any(
        entry[:4] == want[:4] and _same_protocol(entry, want) and entry[5:] in (b"*", want[5:])
        for entry in entries.split(b",")
    )


def _same_protocol(entry: bytes, want: bytes) -> bool:
    return entry[4:5] in (b"b", want[4:5])


def _value(environ: tuple[bytes, ...], name: bytes) -> bytes | None:
    values = [entry[len(name) :] for entry in environ if entry.startswith(name)]
    return values[-1] if values else None


def _with_preload(environ: tuple[bytes, ...], library: bytes) -> tuple[bytes, ...]:
    """Put the library first in LD_PRELOAD, and keep the other libraries there."""
    name = b"LD_PRELOAD="
    present = _value(environ, name) or b""
    others = [word for word in present.replace(b" ", b":").split(b":") if word and word != library]
    entry = name + b":".join([library, *others])
    rest = tuple(e for e in environ if not e.startswith(name))
    return (*rest, entry)
