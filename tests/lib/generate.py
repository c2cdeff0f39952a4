# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes configurations and requests from a seed. The same seed and number give the same case."""

import random
import socket
from typing import List, NamedTuple, Tuple

from generate_rules import rule_file
from reference import FOLDERS, MAPPED, Caller, Entry, Files, Request, spellings

CALLERS = (
    Caller(65534, 65534),
    Caller(1000, 100, (65534, 2000, 50)),
    Caller(12345, 12345, (1000,)),
    Caller(4294967294, 4294967294, (100, 4000000000)),
)
REQUESTS_EACH = 8  # for one configuration

PORTS = (1, 22, 25, 53, 80, 80, 443, 510, 511, 512, 513, 631, 1022, 1023)
HIGH_PORTS = (1024, 6667, 65535)
V4_TEXTS = ("0.0.0.0", "0.0.0.0", "127.0.0.1", "127.0.0.1", "10.0.0.0", "10.0.0.1", "10.1.2.3")
V4_TEXTS += ("10.255.255.255", "1.2.3.4", "192.0.2.77", "203.0.113.128", "255.255.255.254")
V6_TEXTS = ("::", "::", "::1", "::1", "::2", "2001:db8::1", "2001:db8:0:0:1:0:0:1", "fe80::1:2")
V6_TEXTS += ("2001:0:0:1::1", "1:0:3:4:5:6:7:8", "0:2:3:4:5:6:7:0", "0:0:3::", "::1:0", "1::")
V6_TEXTS += ("1:0:3:0:5:0:7:0", "0:2:3:4:5:6:7:8", "1:2:3:4:5:6:0:0", "0:0:3:4:5:0:0:8")
V6_TEXTS += ("::1.2.3.4", "0:2:3:4:5:6:7:8", "::7f00:1", "::ffff:0:102:304", "::fffe:102:304")
V6_TEXTS += ("64:ff9b::1.2.3.4",)
MAPPED_TEXTS = ("::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:10.0.0.1", "::ffff:1.2.3.4")
HOLDS_FILES = ("directory", "symlink")
LINK_LOCAL = b"\xfe\x80" + bytes(6)
LOOPBACK_INDEX = 1

FLAG_MODES = (0o755,) * 20 + (0o700, 0o500, 0o750, 0o750, 0o644, 0o600, 0o666, 0o777, 0o111)
FLAG_MODES += (0o010, 0o001, 0o100, 0o070, 0o007, 0o4755, 0o000, 0o677, 0o767, 0o776)
RULE_MODES = (0o644,) * 40 + (0o444, 0o600, 0o640, 0o640, 0o664, 0o646, 0o622, 0o755, 0o000)
RULE_MODES += (0o700, 0o404, 0o604, 0o240, 0o040, 0o004)
FOLDER_MODES = (0o700, 0o750, 0o711, 0o775, 0o757, 0o777, 0o1777, 0o644, 0o555, 0o2755)


class Configuration(NamedTuple):
    """One set of permission files and the requests to try on it."""

    number: int
    files: Files
    requests: Tuple[Request, ...]


def _pack(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


class _Maker:
    """The draws for one configuration."""

    def __init__(self, rng):
        self.rng = rng
        self.addresses = self._addresses()
        self.ports = [self._port() for _ in range(rng.choice((1, 1, 2, 3)))]
        self.files: Files = {}

    def _addresses(self) -> List[bytes]:
        texts = self.rng.choices(
            (V4_TEXTS, V6_TEXTS, MAPPED_TEXTS), (5, 5, 2), k=self.rng.choice((1, 2, 3))
        )
        addresses = [_pack(self.rng.choice(choice)) for choice in texts]
        for address in addresses[:]:
            if address.startswith(MAPPED):
                addresses.append(address[12:])
            elif not any(address) and self.rng.random() < 0.7:  # both wildcard addresses
                addresses += [bytes(16), bytes(4)]
        return addresses

    def _port(self):
        kind = self.rng.random()
        if kind < 0.8:
            return self.rng.choice(PORTS)
        return self.rng.choice(HIGH_PORTS) if kind < 0.87 else self.rng.randint(1, 1023)

    def subject(self):
        """Return the (address, port) of a new file or line."""
        return self.rng.choice(self.addresses), self.rng.choice(self.ports)

    def bang(self, port):
        """Return the '!' that a file name for the port needs; now and then return the wrong one."""
        needed = port >= 512 if self.rng.random() < 0.5 else 512 <= port <= 1023
        return "!" if needed != (self.rng.random() < 0.04) else ""

    def owner(self, root_share):
        """Return (uid, gid), each either root's or a caller's."""
        if self.rng.random() < root_share:
            return 0, 0
        ids = [self.rng.choice(CALLERS) for _ in range(2)]
        group = self.rng.choice((ids[1].gid, *ids[1].groups))
        return self.rng.choice(((0, group), (ids[0].uid, 0), (ids[0].uid, group), (7, 7)))

    def flag_name(self):
        """Return the name of a byport or byaddr file; sometimes neither helper reads that name."""
        address, port = self.subject()
        bang, rng = self.bang(port), self.rng
        suffix = rng.choice((",tcp", ",udp")) if rng.random() < 0.2 else ""
        if rng.random() < 0.03:
            return rng.choice(("byport/0", f"byport/0{port}", f"byport/!{port},", "byport/!0"))
        if rng.random() < 0.35:
            return f"byport/{bang}{port}{suffix}"
        spelled = rng.choice(spellings(address))
        if rng.random() < 0.05:
            spelled = spelled.upper() if rng.random() < 0.5 else spelled.replace(",", ":")
        return f"byaddr/{bang}{spelled}{port}{suffix}"

    def add_flags(self):
        """Add so few flag files that rule files often decide."""
        rng = self.rng
        for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
            kind = "file"
            if rng.random() < 0.12:
                kind = rng.choice(("symlink", "symlink", "dangling", "directory", "fifo"))
            self.files[self.flag_name()] = Entry(kind, rng.choice(FLAG_MODES), *self.owner(0.4))

    def add_rules(self):
        """Add rule files for most users and some groups, and a file with a user's name."""
        rng = self.rng
        names = [("byuser", caller.uid, 0.85) for caller in CALLERS]
        names += [("bygroup", gid, 0.15) for c in CALLERS for gid in (c.gid, *c.groups)]
        names += [("byuser", "nobody", 0.05)]
        for folder, who, share in names:
            for bang in sorted({self.bang(port) for port in self.ports}):
                if rng.random() >= share:
                    continue
                kind = "file"
                if rng.random() < 0.04:
                    kind = rng.choice(("symlink", "symlink", "dangling", "directory"))
                self.files[f"{folder}/{bang}{who}"] = Entry(
                    kind, rng.choice(RULE_MODES), *self.owner(0.85), rule_file(self.subject, rng)
                )

    def add_folders(self):
        """Add the permission directory and its folders, now and then with a fault."""
        odd = self.rng.choice(("", *FOLDERS)) if self.rng.random() < 0.12 else None
        for folder in ("", *FOLDERS):
            entry = self._odd_folder() if folder == odd else Entry("directory", 0o755)
            if entry is not None:
                self.files[folder] = entry
        self.files = {n: self.files[n] for n in sorted(self.files) if self._can_exist(n)}

    def _odd_folder(self):
        kind = self.rng.choice(("mode", "owner", "other", "missing"))
        if kind == "missing":
            return None
        if kind == "other":
            return Entry(self.rng.choice(("symlink", "dangling", "file")), 0o755)
        uid, gid = self.owner(0.3)
        mode = self.rng.choice(FOLDER_MODES)
        return Entry("directory", mode, uid if kind == "owner" else 0, gid)

    def _can_exist(self, name):
        """Tell whether the parent of a name is a folder and exists."""
        holders = ([""] if name else []) + ([name.split("/")[0]] if "/" in name else [])
        return all(n in self.files and self.files[n].kind in HOLDS_FILES for n in holders)

    def request(self):
        """Return one request, mostly for an address and port that the files have."""
        rng = self.rng
        address, port = self.subject()
        if rng.random() < 0.15:
            near = int.from_bytes(address, "big") + rng.choice((-1, 1, -2, 256))
            address = (near % (1 << 8 * len(address))).to_bytes(len(address), "big")
        elif rng.random() < 0.05:
            address = _pack(rng.choice(V4_TEXTS + V6_TEXTS + MAPPED_TEXTS))
        if rng.random() < 0.08:
            port = rng.choice((max(port - 1, 1), min(port + 1, 65535), self._port()))
        scope = rng.choice((0, LOOPBACK_INDEX)) if address.startswith(LINK_LOCAL) else 0
        return Request(address, port, rng.choice(("tcp", "udp")), scope, rng.choice(CALLERS))


def configuration(seed: int, number: int) -> Configuration:
    """Return configuration `number` of a seed. Earlier calls have no influence."""
    maker = _Maker(random.Random(f"{seed}/{number}"))
    maker.add_flags()
    maker.add_rules()
    maker.add_folders()
    requests = {maker.request(): None for _ in range(REQUESTS_EACH)}
    return Configuration(number, maker.files, tuple(requests))
