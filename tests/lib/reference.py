# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of pybind.5 about one request, written a second time and independently.

Pure: takes a configuration and a request, returns a Decision. The module was written
from the manual page alone and imports nothing of pybind. It reads addresses with the
ipaddress module, so that it does not share a fault with the helper.
"""

import functools
import ipaddress
import itertools
import re
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Tuple, Union

FOLDERS = ("byport", "byaddr", "byuser", "bygroup")
LINE_MAX = 255
RULES_SIZE_MAX = 1 << 20
READ, EXECUTE = 4, 1
MAPPED = bytes(10) + b"\xff\xff"
RULE = re.compile(
    r"(?:any|(?P<low>[0-9A-Fa-f:.]+)(?:-(?P<high>[0-9A-Fa-f:.]+)|/(?P<length>[0-9]+))?)"
    r"(?P<form>[,:])[ \t]*(?P<first>[0-9]+)(?:(?P<dash>-|,[ \t]*)(?P<last>[0-9]+))?"
    r"(?:/(?P<protocol>tcp|udp))?[ \t]*"
)


class Entry(NamedTuple):
    """One name below the permission directory ("" is the directory itself).

    kind: file, directory, fifo, symlink (to something with these attributes)
    or dangling (a symlink to nothing).
    """

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    content: bytes = b""


class Caller(NamedTuple):
    """The identity of the process that asks."""

    uid: int
    gid: int
    groups: Tuple[int, ...] = ()


class Request(NamedTuple):
    """One bind: address packed (4 or 16 bytes), protocol "tcp" or "udp"."""

    address: bytes
    port: int
    protocol: str
    scope: int
    caller: Caller


Files = Dict[str, Entry]


class Rule(NamedTuple):
    """One valid rule line; version 0 is `any`, extensions is what authbind cannot read."""

    version: int
    low: int
    high: int
    ports: Tuple[int, int]
    protocols: Tuple[str, ...]
    extensions: FrozenSet[str]


class Decision(NamedTuple):
    """granted, the deciding file ("" where none did), why, and the rules that cover it.

    why: folder (unsafe), missing (the permission directory), unreachable (a
    folder that the caller may not search), flag, flag-kind, unsafe, unreadable,
    too-big, rule, none, or broken (faults are then those of all lines).
    line: the first that covers the request or is broken, from 1; fault: its.
    """

    granted: bool
    name: str
    why: str
    rules: Tuple[Rule, ...] = ()
    faults: FrozenSet[str] = frozenset()
    line: int = 0
    fault: str = ""


def may(entry: Entry, caller: Caller, right: int) -> bool:
    """Tell whether the mode of entry gives caller the right (READ, EXECUTE)."""
    if entry.uid == caller.uid:
        return bool(entry.mode >> 6 & right)
    if entry.gid == caller.gid or entry.gid in caller.groups:
        return bool(entry.mode >> 3 & right)
    return bool(entry.mode & right)


def is_roots(entry: Entry) -> bool:
    """Tell whether entry is root's and nobody else can write it."""
    return entry.uid == 0 and not entry.mode & 0o022


def is_mapped(request: Request) -> bool:
    """Tell whether the address is a v4-mapped IPv6 address."""
    return request.address.startswith(MAPPED)


def spellings(address: bytes) -> List[str]:
    """Return the spellings of an address in file names, each with its separator, in order."""
    if len(address) == 4:
        text = ".".join(map(str, address))
        return [text + ":", text + ","]
    groups = [f"{address[i] << 8 | address[i + 1]:x}" for i in range(0, 16, 2)]
    return [_short(groups, address) + ",", ":".join(groups) + ","]


def _short(groups: List[str], address: bytes) -> str:
    runs = [(0, 0)]  # (length, -position): the largest is the first of the longest runs
    for start in range(8):
        zeros = list(itertools.takewhile(lambda group: group == "0", groups[start:]))
        runs.append((len(zeros), -start))
    length, start = max(runs)
    if length < 2:
        return ":".join(groups)
    if (length, start) == (6, 0):
        return "::" + ".".join(map(str, address[12:]))
    return ":".join(groups[:-start]) + "::" + ":".join(groups[length - start :])


def flag_names(request: Request, bang: str) -> List[str]:
    """Return the names of the flag files without a protocol, in the order of the steps."""
    names = [f"byport/{bang}{request.port}"]
    return names + [f"byaddr/{bang}{text}{request.port}" for text in spellings(request.address)]


def _number(text: str, limit: int) -> Union[int, str]:
    if len(text) > 1 and text.startswith("0"):
        return "syntax"
    value = int(text)
    return value if value <= limit else "number"


def _addresses(match: "re.Match[str]") -> Union[Tuple[int, int, int], str]:
    """Return (version, lowest, highest) of a rule's addresses, or the fault of the rule."""
    if match["low"] is None:
        return 0, 0, 0
    try:
        low = ipaddress.ip_address(match["low"])
        high = ipaddress.ip_address(match["high"] or match["low"])
    except ValueError:
        return "syntax"
    if match["length"] is None:
        order = low.version == high.version and low <= high
        return (low.version, int(low), int(high)) if order else "order"
    length = _number(match["length"], low.max_prefixlen)
    if isinstance(length, str):
        return length
    host = (1 << (low.max_prefixlen - length)) - 1
    return "host-bits" if int(low) & host else (low.version, int(low), int(low) | host)


def _ports(match: "re.Match[str]", version: int) -> Union[Tuple[int, int], str]:
    old_form = match["form"] == ":"
    dash = (match["dash"] or "").strip()
    wanted = "," if old_form else "-"
    if old_form and (version != 4 or not dash):
        return "syntax"
    if dash and dash != wanted:
        return "syntax"
    first = _number(match["first"], 65535)
    last = _number(match["last"], 65535) if dash else first
    for value in (first, last):
        if isinstance(value, str):
            return value
    return (first, last) if first <= last else "order"


@functools.lru_cache(maxsize=4096)
def read_line(line: bytes) -> Union[Rule, str, None]:
    """Return the rule of a line without its newline, None for a blank line, or the fault.

    The faults: too-long, byte, syntax, number, host-bits, order.
    """
    if len(line) > LINE_MAX:
        return "too-long"
    code, mark, _comment = line.partition(b"#")
    if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line) or re.search(rb"[\x80-\xff]", code):
        return "byte"
    text = code.decode("ascii")
    if not text.strip(" \t"):
        return None
    match = RULE.fullmatch(text)
    if match is None or (match["form"] == ":" and match["length"] is None):
        return "syntax"
    addresses = _addresses(match)
    if isinstance(addresses, str):
        return addresses
    ports = _ports(match, addresses[0])
    if isinstance(ports, str):
        return ports
    extensions = {"comment"} if mark else set()
    extensions |= {"any"} if match["low"] is None else set()
    extensions |= {"protocol"} if match["protocol"] else set()
    protocols = (match["protocol"],) if match["protocol"] else ("tcp", "udp")
    return Rule(*addresses, ports, protocols, frozenset(extensions))


def covers(rule: Rule, request: Request) -> bool:
    """Tell whether the rule covers the request."""
    version = 4 if len(request.address) == 4 else 6
    return (
        rule.ports[0] <= request.port <= rule.ports[1]
        and request.protocol in rule.protocols
        and rule.version in (0, version)
        and (rule.version == 0 or rule.low <= int.from_bytes(request.address, "big") <= rule.high)
    )


def _flags(request: Request, bang: str) -> Iterator[str]:
    plain = flag_names(request, bang)
    protocol = "," + request.protocol
    yield plain[0] + protocol
    yield plain[0]
    yield from (name + protocol for name in plain[1:] if f",{request.port}" in name)
    yield from plain[1:]


def _judge_rules(files: Files, name: str, request: Request) -> Union[Decision, None]:
    entry = files[name]
    if entry.kind in ("symlink", "dangling"):
        return Decision(False, name, "unsafe")
    if not may(entry, request.caller, READ):
        return Decision(False, name, "unreadable")
    if entry.kind != "file" or not is_roots(entry):
        return Decision(False, name, "unsafe")
    if len(entry.content) > RULES_SIZE_MAX:
        return Decision(False, name, "too-big")
    read = [read_line(line) for line in entry.content.split(b"\n")]
    faults = [(number, fault) for number, fault in enumerate(read, 1) if isinstance(fault, str)]
    if faults:
        all_faults = frozenset(fault for _number, fault in faults)
        return Decision(False, name, "broken", (), all_faults, *faults[0])
    rules = [(n, r) for n, r in enumerate(read, 1) if r is not None and covers(r, request)]
    if not rules:
        return None
    return Decision(True, name, "rule", tuple(rule for _n, rule in rules), line=rules[0][0])


def judge_one(files: Files, request: Request) -> Decision:
    """Judge one address: a mapped one as IPv4, and `::` without regard to 0.0.0.0."""
    if is_mapped(request):
        request = request._replace(address=request.address[12:])
    caller = request.caller
    for folder in ("", *FOLDERS):
        entry = files.get(folder)
        if folder and not may(files[""], caller, EXECUTE):
            return Decision(False, folder, "unreachable")
        if (entry is None and not folder) or (
            entry is not None and (entry.kind != "directory" or not is_roots(entry))
        ):
            return Decision(False, folder, "folder" if entry else "missing")
    bang = "!" if 512 <= request.port <= 1023 else ""
    groups = [caller.gid, *sorted(set(caller.groups) - {caller.gid})]
    rule_names = [f"byuser/{bang}{caller.uid}", *(f"bygroup/{bang}{gid}" for gid in groups)]
    for name in [*_flags(request, bang), *rule_names]:
        folder = files.get(name.split("/")[0])
        if folder is not None and not may(folder, caller, EXECUTE):
            return Decision(False, name, "unreachable")
        if folder is None or name not in files:
            continue
        if name in rule_names:
            decision = _judge_rules(files, name, request)
            if decision is not None:
                return decision
        elif files[name].kind != "file":
            return Decision(False, name, "flag-kind")
        else:
            return Decision(may(files[name], caller, EXECUTE), name, "flag")
    return Decision(False, "", "none")


def judge(files: Files, request: Request) -> Tuple[Decision, Decision]:
    """Return the decisions for the address and, if that is `::`, for 0.0.0.0 (else the same)."""
    own = judge_one(files, request)
    if request.address == bytes(16):
        return own, judge_one(files, request._replace(address=bytes(4)))
    return own, own
