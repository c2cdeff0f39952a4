# SPDX-License-Identifier: GPL-3.0-or-later
"""The records that one stage passes to the next: argv -> Request -> Target -> Plan (leaf).

They are named tuples, so that no stage can change the result of an earlier one.
"""

from __future__ import annotations

from ._lean import NamedTuple, socket

MAPPED = b"\0" * 10 + b"\xff\xff"  # ::ffff:0:0/96: a socket there takes the IPv4 port
ID_MAX = 0xFFFFFFFE  # of uids and gids: the next number means "no change" to setresuid(2)
AUTO, PRELOAD, SUPERVISE = "auto", "preload", "supervise"  # --mode


def address_word(addr: bytes) -> str:
    """Return an address as people write it: 127.0.0.1, ::1, ::ffff:127.0.0.1.

    addr: 4 or 16 bytes in network byte order. Names of permission files spell a mapped
    address otherwise: permissions.rule.address_name().
    """
    return socket.inet_ntop(socket.AF_INET if len(addr) == 4 else socket.AF_INET6, addr)


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
    """One --port: proved before the program starts, and then bindable by the program.

    text: the words that the user typed.
    port: 1 to 65535, host byte order.
    addr: 4 or 16 bytes in network byte order, or None for every local address.
    scope_id: as in Address.
    protocol: "tcp", "udp", or None for both.
    name: the name of the socket with --listen, or None.
    """

    text: str
    port: int
    addr: bytes | None
    scope_id: int
    protocol: str | None
    name: str | None = None


class Request(NamedTuple):
    """The command line of pybind.

    argv: the program's.
    listed: the ports of --port; with listen or inetd each has a protocol.
    depth: how many programs in a chain of execve(2) are served; None for no limit.
    mode: AUTO, PRELOAD or SUPERVISE.
    user: USER[:GROUP] as typed, or None.
    listen: the program gets its sockets from descriptor 3 on.
    inetd: the program gets its one socket as descriptor 0.
    backlog: for listen(2), or None for the default.
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
    """The account that --user names.

    gid: the primary group. groups: all groups for setgroups(2). home, shell: as in
    passwd(5), or defaults for an account without an entry.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


class Target(NamedTuple):
    """The program, and how it can be served.

    path: the file for execve(2).
    kind: the kind of program, in words.
    obstacle: why the preload library cannot serve the program, or None.
    unsupervisable: why the supervised mode cannot serve the program, or None.
    binds_alone: execve(2) itself gives the program the right to privileged ports.
    """

    path: bytes
    kind: str
    obstacle: str | None = None
    unsupervisable: str | None = None
    binds_alone: bool = False


class Plan(NamedTuple):
    """The arguments of execve(2); environ: NAME=VALUE bytes."""

    path: bytes
    argv: tuple[bytes, ...]
    environ: tuple[bytes, ...]


class Step(NamedTuple):
    """One permission file that the helper asked.

    result: STEP_* of _wire. v4_half: a step in judging 0.0.0.0 for a bind of ::.
    line: the rule line that granted, or is broken; else 0. name: below CONFIG_DIR.
    """

    result: int
    v4_half: bool
    line: int
    name: str


class Reply(NamedTuple):
    """The helper's reply; helpers/protocol.h describes the members.

    reason, fault: REASON_* and FAULT_* of _wire. error: 0, or the errno for bind().
    cause: the errno behind the reason, or 0. name: the deciding file below CONFIG_DIR.
    truncated: steps are missing at the end.
    """

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
