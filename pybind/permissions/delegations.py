# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is granted which ports: the rows of list and status, and the files that refuse.

This module reads the files and decides nothing. A property test compares its rows with
the helper's answers (tests/admin/test_list.py).

unmarked() finds files that would grant a port if their names had a '!', or had none. The
names of files for ports 512 to 1023 have a '!' (pybind(5)). The helper never asks a file
for such a port without the '!', nor a file for another port with it.
"""

from __future__ import annotations

import functools
import itertools
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple

from ..model import MAPPED, Address
from ..paths import FOLDERS
from . import folders, reading
from .access import (
    GROUP_OBJ,
    NAMED_GROUP,
    NAMED_USER,
    OTHER,
    USER_OBJ,
    Access,
    R,
    X,
    permits,
    read_access,
)
from .folders import Trouble, path_of
from .names import Flag, Owner, flag_name, is_reserved
from .overlap import meets
from .precedence import FlagIndex, in_force
from .rule import ANY, Broken, Line, Rule
from .who import GROUP, USER, Identity, Who, everyone, group_of, identity_for, rules_name, user_of

_group_of, _user_of = functools.lru_cache(None)(group_of), functools.lru_cache(None)(user_of)
_Progress = Callable[[Sequence[Owner], str], Iterable[Owner]]
_IPV4_LEN = 4


class Delegation(NamedTuple):
    """One grant: `who` can bind the addresses and ports of `rule`.

    but: members of `who` that the same flag file refuses. name: the file, below
    CONFIG_DIR. line: of the rule; 0 for a flag file. flag: the flag file; None for a rule.
    """

    who: Who
    but: tuple[Who, ...]
    rule: Rule
    name: str
    line: int
    flag: Flag | None

    @property
    def holders(self) -> str:
        """Return the users of the grant: alice, @www-data, or everyone but bob."""
        but = " but " + ", ".join(other.text for other in self.but) if self.but else ""
        return self.who.text + but


class Listing(NamedTuple):
    """The grants in all permission files.

    refusing: files that grant nothing, and why. unseen: (path, why) of files that the
    caller may not read. Both are complete only after all delegations were taken.
    """

    delegations: Iterator[Delegation]
    refusing: list[Trouble]
    unseen: list[tuple[str, str]]
    flags: FlagIndex

    def taken(self) -> Listing:
        """Take all delegations, for the sake of refusing and unseen; return this listing."""
        for _ in self.delegations:
            pass
        return self


def delegations(
    who: Identity | None = None,
    port: int | None = None,
    progress: _Progress = lambda owners, _: owners,
) -> Listing:
    """Return all delegations; with `who` those of one user, with `port` those of one port."""
    refusing = folders.broken()
    if refusing:
        return Listing(iter([]), refusing, [], FlagIndex([]))
    files = reading.survey()
    flags = FlagIndex(flag for flag, _ in files.flags)
    look = _Look(who, refusing)
    rows = itertools.chain(look.of_flags(files.flags), look.of_owners(files.owners, progress))
    if port is not None:
        rows = itertools.chain(
            row for row in rows if row.rule.port_min <= port <= row.rule.port_max
        )
    return Listing(rows, refusing, look.unseen, flags)


class _Look:
    """One pass over the files, for one user or for all; fills `refusing` and `unseen`."""

    def __init__(self, who: Identity | None, refusing: list[Trouble]) -> None:
        self.who = who
        self.refusing = refusing
        self.unseen: list[tuple[str, str]] = []
        self._closed = folders.closed()
        self._told: set[str] = set()

    def of_flags(self, flags: list[tuple[Flag, Access | None]]) -> Iterator[Delegation]:
        noexec = {folder for folder in FOLDERS[:2] if folders.noexec(folder)}
        for flag, access in flags:
            folder = flag.name.partition("/")[0]
            if folder in noexec:
                self._tell(folders.on_noexec(folder))
                continue
            if access is None:
                self.refusing.append(reading.flag_kind(flag))
                continue
            for holder, but in _principals(access) if self.who is None else _own(access, self.who):
                if self._reaches(holder, folder):
                    yield Delegation(holder, but, flag.rule, flag.name, 0, flag)

    def of_owners(self, owners: list[Owner], progress: _Progress) -> Iterator[Delegation]:
        # For one user the helper stops at a refusing file. Names with the '!' and names
        # without it are asked for different ports: dead holds `reserved` of those that stop.
        dead: set[bool] = set()
        asked = owners if self.who is None else _chain(owners, self.who)
        for owner in progress(asked, "reading"):
            holder = _user_of(owner.ident) if owner.folder == "byuser" else _group_of(owner.ident)
            if owner.reserved in dead or not self._reaches(holder, owner.folder):
                continue
            lines, trouble = self._read(owner)
            if trouble is None:
                yield from _of_lines(owner, holder, lines)
                continue
            self.refusing.append(trouble)
            if self.who is not None:
                dead.add(owner.reserved)

    def _reaches(self, holder: Who, folder: str) -> bool:
        """Tell whether the holder can search the folders that the helper asks, up to this one."""
        if not self._closed:
            return True
        uid, gids = _ids(self.who, holder)
        first = folders.unsearchable(uid, gids, self._closed)
        if first is None or (first[0] and FOLDERS.index(first[0]) > FOLDERS.index(folder)):
            return True
        self._tell(first[1])
        return False

    def _tell(self, trouble: Trouble) -> None:
        if trouble.name not in self._told:
            self._told.add(trouble.name)
            self.refusing.append(trouble)

    def _read(self, owner: Owner) -> tuple[list[Line], Trouble | None]:
        """Return the lines of a rule file, or the reason why it refuses."""
        path = path_of(owner.name)
        try:
            trouble = self._unreadable(owner, path)
            if trouble:
                return [], trouble
            lines, troubles = reading.read_rule_file(owner.name, path)
        except FileNotFoundError:  # removed meanwhile
            return [], None
        except PermissionError as error:
            self.unseen.append((path, str(error.strerror)))
            return [], None
        except OSError as error:
            return [], Trouble(owner.name, 0, f"cannot be read: {error.strerror}", "")
        return lines, troubles[0] if troubles else None

    def _unreadable(self, owner: Owner, path: str) -> Trouble | None:
        if self.who is None:
            return reading.unreadable(owner, path)
        access = read_access(path)
        if access and not permits(access, self.who.uid, {self.who.gid, *self.who.groups}, R):
            return reading.not_readable(owner, path, access, f"by uid {self.who.uid}")
        return None


def _ids(who: Identity | None, holder: Who) -> tuple[int, set[int]]:
    if who is not None:
        return who.uid, {who.gid, *who.groups}
    if holder.kind == USER:
        identity = identity_for(holder)
        return identity.uid, {identity.gid, *identity.groups}
    return -1, {holder.ident} if holder.kind == GROUP else set()


def _own(access: Access, who: Identity) -> list[tuple[Who, tuple[Who, ...]]]:
    gids = {who.gid, *who.groups}
    return [(_user_of(who.uid), ())] if permits(access, who.uid, gids, X) else []


def _principals(access: Access) -> list[tuple[Who, tuple[Who, ...]]]:
    """Return the users and groups that can execute a flag file, each with its exceptions."""
    users: dict[int, bool] = {}
    groups: dict[int, bool] = {}
    others = False
    for (tag, ident), perm in access.effective().items():
        can = bool(perm & X)
        if tag == USER_OBJ:
            users[access.uid] = can
        elif tag == NAMED_USER:
            users.setdefault(ident, can)
        elif tag in (NAMED_GROUP, GROUP_OBJ):
            gid = access.gid if tag == GROUP_OBJ else ident
            groups[gid] = groups.get(gid, False) or can
        elif tag == OTHER:
            others = can
    without_users = tuple(_user_of(uid) for uid, can in users.items() if uid and not can)
    without_groups = tuple(_group_of(gid) for gid, can in groups.items() if not can)
    rows: list[tuple[Who, tuple[Who, ...]]] = []
    if others:
        rows.append((everyone(), without_users + without_groups))
    if not others or without_groups:
        rows += [(_user_of(uid), ()) for uid, can in users.items() if can and uid]
        rows += [(_group_of(gid), without_users) for gid, can in groups.items() if can]
        if not rows and users.get(0):
            rows.append((_user_of(0), ()))
    return rows


def _chain(owners: list[Owner], who: Identity) -> list[Owner]:
    """Return the rule files that the helper asks for one user, in its order."""
    there = {owner.name: owner for owner in owners}
    groups = [who.gid, *(gid for gid in sorted(who.groups) if gid != who.gid)]
    names = [
        f"{folder}/{mark}{ident}"
        for mark in ("", "!")
        for folder, idents in (("byuser", [who.uid]), ("bygroup", groups))
        for ident in idents
    ]
    return [there[name] for name in names if name in there]


def _of_lines(owner: Owner, who: Who, lines: Iterable[Line]) -> Iterator[Delegation]:
    for number, _, content in lines:
        if content is None or isinstance(content, Broken):
            continue
        for part in in_force(content, owner.reserved):
            yield Delegation(who, (), part, owner.name, number, None)


def unmarked(address: Address, uid: int, gids: Sequence[int]) -> list[str]:
    """Return a sentence for each such file about this address and user.

    gids: all groups of the user.
    """
    rule = _rule(address)
    reserved = is_reserved(address.port)
    wanted = "a '!' in" if reserved else "no '!' in"
    notes = [
        f"{path_of(other)} is not looked at: a file for port {address.port} has {wanted} its name"
        for other in map(_other, _flags(rule))
        if os.path.lexists(path_of(other))
    ]
    for who in (user_of(uid), *map(group_of, gids)):
        other = rules_name(who, not reserved)
        if _covers(other, rule):
            notes.append(
                f"{path_of(other)} has a line for it that does not count: a rule for port "
                f"{address.port} belongs in {path_of(rules_name(who, reserved))}"
            )
    return notes


def _rule(address: Address) -> Rule:
    addr = address.addr[12:] if address.addr.startswith(MAPPED) else address.addr
    family = int(socket.AF_INET if len(addr) == _IPV4_LEN else socket.AF_INET6)
    protocol = "udp" if address.udp else "tcp"
    return Rule(family, addr, addr, address.port, address.port, protocol)


def _flags(rule: Rule) -> Iterator[str]:
    everywhere = rule._replace(family=ANY, addr_min=b"", addr_max=b"")
    for one in (everywhere, rule):
        yield flag_name(one)
        yield flag_name(one._replace(protocol=None))


def _other(name: str) -> str:
    """Return a name with the '!' added or taken away."""
    folder, _, file = name.partition("/")
    return f"{folder}/{file[1:] if file.startswith('!') else '!' + file}"


def _covers(name: str, rule: Rule) -> bool:
    try:
        lines, _ = reading.read_rule_file(name, path_of(name))
    except OSError:
        return False
    return meets([line.content for line in lines if isinstance(line.content, Rule)], rule)
