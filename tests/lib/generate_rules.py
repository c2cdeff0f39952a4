# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the text of rule files: valid lines, lines that only pybind knows, and broken lines.

Templates are filled from one (address, port), so that most lines cover the later
requests. Their fields are:
a: the address; low, high: addresses just below and above
net: a prefix that holds the address; bits: its length; odd: the prefix with host bits set
p: the port; ports: a range with the port; q, r: the ports above and below
wrap: the port plus 2^32
"""

import ipaddress
import random

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
