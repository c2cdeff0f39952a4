# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which ports: reads /proc/net/{tcp,tcp6,udp,udp6} and /proc/PID/fd (proc(5)).

Shows only the caller's network namespace, and only what the caller may see.
"""

from __future__ import annotations

import sys

from ._lean import TYPE_CHECKING, NamedTuple, posix
from .model import MAPPED, Address, address_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TABLES = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))
_LISTENING = "0A"


class Process(NamedTuple):
    """A process that has a socket open. name: from /proc/PID/comm."""

    pid: int
    name: str


class Socket(NamedTuple):
    """A socket that holds its port: a listening TCP socket, or any UDP socket.

    addr: 4 or 16 bytes in network byte order. port: host byte order. uid: the owner.
    """

    protocol: str
    addr: bytes
    port: int
    uid: int
    inode: int

    @property
    def text(self) -> str:
        """Return the socket's address and port as users write them."""
        word = address_word(self.addr)
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
    """Return the address that hexadecimal words of 32 bits in host byte order spell."""
    pieces = (words[at : at + 8] for at in range(0, len(words), 8))
    return b"".join(int(piece, 16).to_bytes(4, sys.byteorder) for piece in pieces)


def in_the_way(sock: Socket, low: bytes, high: bytes) -> bool:
    """Tell whether the socket may hold its port on some address from low to high.

    low, high: 4 or 16 bytes in network byte order, or empty for every address. A socket
    on :: counts for IPv4 too, because /proc/net does not show IPV6_V6ONLY (ipv6(7)).
    """
    addr = _unmapped(sock.addr)
    if not low or bytes(16) in (addr, high):
        return True
    if len(addr) != len(low):
        return False
    return not any(addr) or not any(high) or low <= addr <= high


def _unmapped(addr: bytes) -> bytes:
    return addr[12:] if addr.startswith(MAPPED) else addr


def sockets(address: Address) -> list[Socket]:
    """Return the sockets that hold this address and port."""
    protocol, addr = "udp" if address.udp else "tcp", _unmapped(address.addr)
    return [
        sock
        for sock in _read()
        if (sock.protocol, sock.port) == (protocol, address.port) and in_the_way(sock, addr, addr)
    ]


def users(address: Address) -> list[int]:
    """Return the uids whose sockets hold this address and port."""
    return sorted({sock.uid for sock in sockets(address)})


def only_the_caller(address: Address) -> bool:
    """Tell whether all sockets that hold this address and port are the caller's."""
    return users(address) == [posix.getuid()]


def processes(inodes: Iterable[int]) -> dict[int, list[Process]]:
    """Return inode -> the processes that have this socket open.

    Only root sees other users' processes.
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    by_inode: dict[int, list[Process]] = {}
    for pid in sorted(int(name) for name in posix.listdir("/proc") if name.isdecimal()):
        if not wanted:
            break
        for link in _links(pid) & wanted.keys():
            by_inode.setdefault(wanted[link], []).append(Process(pid, _name(pid)))
    return by_inode


def _links(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = posix.listdir(folder)
    except OSError:
        return set()  # another user's process, or one that has ended
    links = (_link(f"{folder}/{name}") for name in names)
    return {link for link in links if link is not None}


def _link(path: str) -> str | None:
    """Return where a descriptor leads; None where it was closed meanwhile, as servers do."""
    try:
        return posix.readlink(path)
    except OSError:
        return None


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return "?"
