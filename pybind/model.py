# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stages hand on to each other: argv -> Request -> Target -> Plan (leaf).

Immutable named tuples: no stage changes what an earlier one found.
"""

from __future__ import annotations

from ._lean import NamedTuple

MAPPED = b"\0" * 10 + b"\xff\xff"  # ::ffff:0:0/96: takes the IPv4 port
ID_MAX = 0xFFFFFFFE  # of users and groups: to setresuid(2) the next number means "leave it"
AUTO, PRELOAD, SUPERVISE = "auto", "preload", "supervise"  # --mode


class Address(NamedTuple):
    """One address and port that a socket can be bound to.

    family: socket.AF_INET or AF_INET6.
    addr: 4 or 16 bytes, network byte order.
    scope_id: interface index for link-local IPv6, else 0.
    port: 1 to 65535, host byte order.
    udp: UDP, else TCP.
    """

    family: int
    addr: bytes
    scope_id: int
    port: int
    udp: bool


class Listed(NamedTuple):
    """One --port: what the program may bind, and what is proved before it starts.

    text: as the user typed it. addr: 4 or 16 bytes in network byte order, or
    None for every local address. scope_id: as in Address. protocol: "tcp",
    "udp", or None for both. name: what --listen calls its socket, or None.
    """

    text: str
    port: int
    addr: bytes | None
    scope_id: int
    protocol: str | None
    name: str | None = None


class Request(NamedTuple):
    """The command line, understood.

    depth: None for no limit. argv: the program's. user: USER[:GROUP] as typed,
    or None. listen, inetd: the program is given its sockets, from descriptor 3
    on, or one as descriptor 0; then each listed has a protocol. backlog: of
    listen(2), or None.
    """

    argv: tuple[bytes, ...]
    listed: tuple[Listed, ...] = ()
    depth: int | None = None
    mode: str = AUTO
    verbose: bool = False
    quiet: bool = False
    check: bool = False
    user: str | None = None
    listen: bool = False
    inetd: bool = False
    backlog: int | None = None

    @property
    def gives_sockets(self) -> bool:
        """Tell whether the program is given sockets and binds nothing itself."""
        return self.listen or self.inetd


class Account(NamedTuple):
    """Whom --user names: numbers for the kernel, words for the environment.

    gid: the primary group. groups: the supplementary ones. home, shell: as in
    passwd(5), or defaults where there is no entry.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


class Target(NamedTuple):
    """What will really be executed.

    path: of the file that execve(2) is given. kind: what it is, in words.
    obstacle: why the preload library cannot serve it, or None.
    unsupervisable: why the supervised mode cannot serve it, or None.
    binds_alone: the kernel gives it the right to bind privileged ports at
    execve(2).
    """

    path: bytes
    kind: str
    obstacle: str | None = None
    unsupervisable: str | None = None
    binds_alone: bool = False


class Plan(NamedTuple):
    """What is left to do: execve(path, argv, environ); environ as NAME=VALUE bytes."""

    path: bytes
    argv: tuple[bytes, ...]
    environ: tuple[bytes, ...]


class Step(NamedTuple):
    """One permission file that the helper looked at (name: below the directory)."""

    result: int
    v4_half: bool
    line: int
    name: str


class Reply(NamedTuple):
    """The helper's answer; numbers as in _wire.py, error and cause are errnos."""

    reason: int
    error: int
    cause: int
    line: int
    fault: int
    capable: bool
    v4_half: bool
    truncated: bool
    name: str
    steps: tuple[Step, ...]
