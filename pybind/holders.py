# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which ports: /proc/net/{tcp,tcp6,udp,udp6} and /proc/PID/fd (proc(5))."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .model import MAPPED
from .permissions.rule import ANY, Rule

_TABLES = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))
_LISTENING = "0A"


class Process(NamedTuple):
    """One that has the socket open."""

    pid: int
    name: str


class Socket(NamedTuple):
    """A socket that keeps others from its port: a TCP one that listens, any UDP one.

    addr: 4 or 16 bytes in network byte order.
    """

    protocol: str
    addr: bytes
    port: int
    uid: int
    inode: int

    @property
    def text(self) -> str:
        """Return its address as users write it."""
        family = socket.AF_INET if len(self.addr) == 4 else socket.AF_INET6
        word = socket.inet_ntop(family, self.addr)
        return f"[{word}]:{self.port}" if ":" in word else f"{word}:{self.port}"


def held() -> list[Socket]:
    """Return the sockets of this network namespace, by port."""
    return sorted(_read(), key=lambda sock: (sock.port, sock.protocol, len(sock.addr), sock.addr))


def _read() -> Iterator[Socket]:
    for table, protocol in _TABLES:
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue  # a host without IPv6
        for row in rows:
            words, _, port = row[1].rpartition(":")
            if protocol == "udp" or row[3] == _LISTENING:
                yield Socket(protocol, _address(words), int(port, 16), int(row[7]), int(row[9]))


def _address(words: str) -> bytes:
    """Return what hexadecimal words in host byte order mean."""
    pieces = (words[at : at + 8] for at in range(0, len(words), 8))
    return b"".join(int(piece, 16).to_bytes(4, sys.byteorder) for piece in pieces)


def in_the_way(sock: Socket, rule: Rule) -> bool:
    """Tell whether somebody who uses `rule` (of one protocol) may meet the socket."""
    if sock.protocol != rule.protocol or not rule.port_min <= sock.port <= rule.port_max:
        return False
    addr = sock.addr[12:] if sock.addr.startswith(MAPPED) else sock.addr
    if rule.family == ANY or addr == bytes(16):  # :: takes the IPv4 ports too
        return True
    if len(addr) != len(rule.addr_min):
        return False
    wildcard = not any(rule.addr_max)  # a grant of 0.0.0.0 itself meets every address
    return wildcard or not any(addr) or rule.addr_min <= addr <= rule.addr_max


def processes(inodes: Iterable[int]) -> dict[int, list[Process]]:
    """Return who has these sockets open, as far as the caller may look (root: everybody)."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, list[Process]] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        if not wanted:
            break
        for link in _links(pid) & wanted.keys():
            found.setdefault(wanted[link], []).append(Process(pid, _name(pid)))
    return found


def _links(pid: int) -> set[str]:
    folder, links = f"/proc/{pid}/fd", set()
    try:
        for name in os.listdir(folder):
            links.add(os.readlink(f"{folder}/{name}"))
    except OSError:
        pass  # another user's, or ended meanwhile
    return links


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return "?"
