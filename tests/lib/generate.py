# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes configurations and requests from a seed. The same seed and number give the same case.

Rule files have valid lines, lines that only pybind knows, and broken lines. Their templates
are filled from one (address, port), so that most lines cover the later requests. Their
fields are:
a: the address; low, high: addresses just below and above
net: a prefix that holds the address; bits: its length; odd: the prefix with host bits set
p: the port; ports: a range with the port; q, r: the ports above and below
wrap: the port plus 2^32
"""

import ipaddress
import random
import socket
from typing import List, NamedTuple, Tuple

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

PLAIN = ("{a},{p}", "{a}-{a},{p}", "{low}-{high},{p}", "{low}-{high},{ports}", "{net},{p}")
PLAIN += ("{net},{ports}", "{a},{ports}", "{a}, {p}", "{a},\t{p} ", "{net}, {ports}\t ")
PLAIN += ("{high}-{high},{p}", "{low}-{low},{p}", "{a},{q}-65535", "{a},0-{r}", "{a},0-{p}")
PLAIN_V4 = ("{net}:{p},{q}", "{net}: {p}, {q}\t", "{net}:{p},{p}", "{a}/32:0,65535")

EXTENDED = ("any,{p}", "any,{ports}", "any, {p}", "{a},{p}/tcp", "{a},{p}/udp", "{net},{ports}/tcp")
EXTENDED += ("any,{p}/udp", "{a},{p} # {p}", "{a},{p}#x", "{net},{ports}\t# caf\u00e9")
EXTENDED_V4 = ("{net}:{p},{q}/tcp", "{net}: {p}, {p}/udp ", "{net}:{p},{q} # old form")

NEUTRAL = ("", " \t", "# any,{p}", "#{a},{p}", "\t# {net},{p}", "# caf\u00e9")

BROKEN = ("{a},{wrap}", "{a},1-65536", "{a},{p}-{wrap}", "{a},-{p}", "{a},+{p}", "{a},0{p}")
BROKEN += ("{net},0{p}-{q}", "{a},{q}-{r}", "{high}-{low},{p}", "{a}/{over},{p}", "{a}/0{bits},{p}")
BROKEN += ("{any}/4294967295,{p}", "{any}/-1,{p}", "{a}/{bits}/{bits},{p}", "{odd},{p}")
BROKEN += ("{odd},{ports}", " {a},{p}", "\t{net},{p}", "{a} ,{p}", "{a}/ {bits},{p}")
BROKEN += ("{a}/{bits} ,{p}", "{a}-,{p}", "{a},{p}- {q}", "{a},{p} -{q}", "{a},{p}-+{q}")
BROKEN += ("{a},{p}-", "{a},", "{a}", ",{p}", "{p}", "{a},{p},{q}", "{a}:{p}", "{a},{p} {p}")
BROKEN += ("{a},{p}/sctp", "{a},{p}/TCP", "{a},{p}/", "any", "any/0,{p}", "any-{a},{p}", "ANY,{p}")
BROKEN += ("any,{p} x", "::-255.255.255.255,{p}", "{a}%lo,{p}", "{a},{p}\r", "{a},{p}\0")
BROKEN += ("{a},{p}\0x", "{a},{p}\v", "{a},{p}\f", "{a},{p}\x7f", "\r", "{a},{p}\u00a0", "\u00e9")
BROKEN += ("# x\0y", "*,{p}", "0,{p}", "{a},0x50", "{a},{p}\0# x", "#\r", "{a},{p} # x\r", "# \x7f")
BROKEN += ("#\x01", "{net}:{p},{q}", "{a}:{p},{q}", "\x1b[2K{a},{p}")
BROKEN_V4 = ("{a}/33:{p},{q}", "{net}:{q},{r}", "{net}:0{p},{q}", " {net}:{p},{q}", "{net}:{p}")
BROKEN_V4 += ("{odd}:{p},{q}", "{net}:+{p},{q}", "{net}:{p},65536", "{net} :{p},{q}")
BROKEN_V4 += ("{net}:{p}-{q}", "{a}/032:{p},{q}", "0{a}/32:{p},{q}", "{net}:{wrap},{wrap}")
BROKEN_V4 += ("0{a},{p}", "{net}:{p} ,{q}", "{net}:\v{p},{q}", "{low}-{high}:{p},{q}")
BROKEN_V4 += ("{a}/32:-1,{p}",)

FUZZ = "0123456789abcdefF:.,-/#! \t%+\0\r\x0bxanytcpud\n"
AUTHBIND_BUFFER = 298  # bytes that authbind's reader takes at a time
LENGTHS = (254, 255, 255, 256, 257, 280, 297, 298, 299, 300, 597)


class Configuration(NamedTuple):
    """One set of permission files and the requests to try on it."""

    number: int
    files: Files
    requests: Tuple[Request, ...]


def _pack(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def _near(address, rng):
    steps = rng.choice((0, 1, 1, 2, 255, 256, 1 << 20))
    value = int(address) + rng.choice((-1, 1)) * steps
    return type(address)(min(max(value, 0), (1 << address.max_prefixlen) - 1))


def _spell(address, rng):
    """Write an address; IPv6 in one of the forms that inet_pton(3) reads."""
    text = str(address)
    if address.version == 4 or rng.random() < 0.6:
        return text
    tail = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    forms = (address.exploded, text.upper(), address.exploded[:30] + str(tail))
    return rng.choice(forms)


def _fields(packed, port, rng):
    address = ipaddress.ip_address(packed)
    low, high = sorted((_near(address, rng), _near(address, rng)))
    bits = rng.choice((0, 1, 7, 8, 9, 24, address.max_prefixlen - 1, address.max_prefixlen))
    net = ipaddress.ip_network((packed, bits), strict=False)
    first, last = max(port - rng.choice((0, 1, 79)), 0), port + rng.choice((0, 1, 500))
    return {
        "a": _spell(address, rng),
        "low": _spell(low, rng),
        "high": _spell(high, rng),
        "net": f"{_spell(net.network_address, rng)}/{bits}",
        "odd": f"{_spell(address + (0 if int(address) & 1 else 1), rng)}/{min(bits, 31)}",
        "any": "0.0.0.0" if address.version == 4 else "::",
        "bits": bits,
        "over": address.max_prefixlen + rng.choice((1, 1, 200)),
        "p": port,
        "q": port + 1,
        "r": port - 1,
        "ports": f"{first}-{min(last, 65535)}",
        "wrap": port + (1 << 32),
    }


def _fill(both, v4, packed, port, rng):
    templates = both + v4 if len(packed) == 4 else both
    return rng.choice(templates).format(**_fields(packed, port, rng)).encode()


def good_line(packed, port, rng):
    """Return a valid line, mostly one for the address and port."""
    kind = rng.random()
    if kind < 0.7:
        line = _fill(PLAIN, PLAIN_V4, packed, port, rng)
    elif kind < 0.85:
        line = _fill(EXTENDED, EXTENDED_V4, packed, port, rng)
    else:
        line = _fill(NEUTRAL, (), packed, port, rng)
    if rng.random() < 0.02:
        line = line.ljust(rng.choice((254, 255)))
    return line


def bad_line(packed, port, rng):
    """Return a line that is probably broken."""
    kind = rng.random()
    if kind < 0.55:
        return _fill(BROKEN, BROKEN_V4, packed, port, rng)
    plain = _fill(PLAIN, PLAIN_V4, packed, port, rng)
    length = rng.choice(LENGTHS)
    if kind < 0.62:
        return plain.ljust(length)
    if kind < 0.68:
        return (plain + b" # ").ljust(length, b"x")
    if kind < 0.75:  # a reader with a short buffer takes the end of the line for a new line
        comment = b"#".ljust(AUTHBIND_BUFFER * rng.choice((1, 1, 2)), rng.choice((b" ", b"x")))
        return comment + plain
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(plain) + 1)
        new = rng.choice(FUZZ).encode() if rng.random() < 0.7 else b""
        plain = plain[:at] + new + plain[at + rng.randrange(2) :]
    return plain


def rule_file(pool, rng: random.Random) -> bytes:
    """Return a rule file's content; pool yields (packed address, port) for its lines."""
    lines = [good_line(*pool(), rng) for _ in range(rng.choice((0, 1, 2, 3, 4, 6)))]
    if rng.random() < 0.45:
        lines.insert(rng.randrange(len(lines) + 1), bad_line(*pool(), rng))
    content = b"".join(line + b"\n" for line in lines)
    if rng.random() < 0.01:
        size = (1 << 20) + rng.choice((0, 1, 100))
        line = b"#".ljust(127) + b"\n"
        padding = line * ((size - len(content)) // len(line))
        content = padding + content
        content = (size - len(content)) * b"\n" + content
    if rng.random() < 0.03:
        content = content.replace(b"\n", b"\r\n")
    return content[:-1] if content and rng.random() < 0.15 else content


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
