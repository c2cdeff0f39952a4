# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads authbind's folder (byport, byaddr, byuid), and asks what authbind would answer.

The folder becomes permission files for pybind. Files that authbind's helper never looks at
are left out, even if pybind would look at them: an import must grant nothing that authbind
did not grant.

An answer is found by authbind's steps in its own folder, taken as the user in question.
Like authbind's helper, this module asks the kernel by access(2) whether a file is
executable. So groups, access control lists and links count as they do for authbind. Only
root can ask.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import shlex
import socket
import stat

from ...model import MAPPED, Address
from ...paths import CONFIG_DIR, FOLDERS
from ...permissions.access import Access, as_roots, from_mode, named, read_access
from ...permissions.errors import AdminError, Invalid
from ...permissions.names import Flag, Owner, Unknown, parse_name, pieces
from ...permissions.reading import FILE_SIZE_MAX
from ...permissions.rule import Rule, address_name
from ...permissions.who import Identity, user_of
from ...repairs import printable
from ...trust import changeable
from ..asking.ask import answer_as
from . import authbind_lines
from .authbind_lines import LIBRARY_PORT_MAX
from .source import Claim, Left, OldAnswer, Source, empty

_FOLDERS = ("byport", "byaddr", "byuid")
_PORT = re.compile("(!?)(?:.*[,:])?([0-9]+)")
_SIZE_MAX = 1 << 28  # of a byuid file: a sparse one may be larger than the memory
_HALF = 512  # from this port on, authbind looks for files with the '!'
# Name of a byuid file -> (rule, why it is not carried over, or "") for each of its lines.
Meanings = dict[str, list[tuple[Rule, str]]]


def read(folder: str) -> Source:
    """Return the grants of the folder. Raises AdminError; Invalid if they cannot be made here."""
    reader = _Reader(os.path.abspath(folder))
    if not os.path.isdir(folder):
        raise AdminError(f"{folder}: no such folder", "authbind's is /etc/authbind")
    reader.list_strays()
    reader.note_others()
    for name in _FOLDERS[:2]:
        reader.read_flags(name)
    reader.read_rule_files()
    return reader.source


class _Reader:
    """Reads one folder. meanings: the rules of each byuid file, for ask_as()."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.meanings: Meanings = {}
        self.source = empty(root, LIBRARY_PORT_MAX, self._ask)

    def _ask(self, identity: Identity, addresses: list[Address]) -> list[OldAnswer]:
        return ask_as(self.root, self.meanings, identity, addresses)

    def list_strays(self) -> None:
        """List files beside the three folders as left out; AdminError if no folder exists."""
        names = sorted(os.listdir(self.root))
        if not any(os.path.isdir(f"{self.root}/{name}") for name in _FOLDERS):
            content = f"it has {', '.join(map(repr, names[:5]))}" if names else "it is empty"
            raise AdminError(
                f"{self.root}: no byport, byaddr or byuid there: {content}",
                "authbind's folder is /etc/authbind, and these lie directly in it",
            )
        for name in names:
            ours = self.root == CONFIG_DIR and (name in FOLDERS or name.startswith("."))
            if name not in _FOLDERS and not ours:
                self._leave(name, "", "authbind never looks at it")

    def note_others(self) -> None:
        """Say who besides root can write the folder: what --apply reads may not be the plan's."""
        part = changeable(self.root)
        if part is not None:
            why = f"{part} is not root's alone: what --apply reads there may be another thing"
            self.source.notes.append(Left(self.root, "", why))

    def _leave(self, name: str, text: str, why: str) -> None:
        self.source.left.append(Left(f"{self.root}/{name}", text, why))

    def _names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(f"{self.root}/{folder}"))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read_flags(self, folder: str) -> None:
        """Read byport or byaddr."""
        path = f"{self.root}/{folder}"
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(path)
            if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o111 != 0o111:
                raise Invalid(
                    f"{path} (mode {stat.S_IMODE(status.st_mode):04o}) cannot be searched by "
                    "every user: authbind refuses those everything, which no file here can say",
                    f"if nobody needs that: chmod 0755 {shlex.quote(path)}",
                )
        for name in self._names(folder):
            why = _unread_flag(folder, name)
            if why:
                self._leave(f"{folder}/{name}", "", why)
                mapped = _mapped_rule(name)
                if mapped:
                    self._claim(mapped, f"{path}/{name}")
                continue
            flag = parse_name(folder, name)
            if isinstance(flag, Flag):
                self._read_flag(flag)

    def _claim(self, rule: Rule, path: str) -> Access | None:
        """Add claims for all users and groups of a flag file; return its access.

        None for a link that leads nowhere.
        """
        try:
            access = _access(path)
        except FileNotFoundError:
            return None
        self.source.decided.append(rule)
        self.source.claims.extend(Claim(who, rule) for who in named(access))
        return access

    def _read_flag(self, flag: Flag) -> None:
        before = self._claim(flag.rule, f"{self.root}/{flag.name}")
        if before is None:
            self._leave(flag.name, "", "a link to nothing, which authbind takes for no file")
            return
        path = f"{self.root}/{flag.name}"
        if os.path.isdir(path):
            why = "a directory; authbind grants by its mode, and so does the file made of it here"
            self.source.notes.append(Left(path, "", why))
        if before.uid != 0:
            self.source.owners[flag.name] = user_of(before.uid)
        self.source.flags[flag.name] = as_roots(before)

    def read_rule_files(self) -> None:
        """Read byuid."""
        for name in self._names("byuid"):
            owner = parse_name("byuser", name)
            if not isinstance(owner, Owner):
                why = "authbind reads numbers only; for a user: sudo pybindctl grant USER PORT"
                self._leave(f"byuid/{name}", "", why)
                continue
            try:
                data = _contents(f"{self.root}/byuid/{name}")
                public = _is_public(f"{self.root}/byuid/{name}")
            except OSError as error:
                self._leave(f"byuid/{name}", "", f"cannot be read ({error.strerror})")
                continue
            self._read_rules(owner, name, data, public)

    def _read_rules(self, owner: Owner, name: str, data: bytes, public: bool) -> None:
        path, who = f"{self.root}/byuid/{name}", user_of(owner.ident)
        texts, meanings = [], self.meanings.setdefault(name, [])
        if not public:
            why = "not everybody may read it, or others can replace it: its rules alone are taken"
            self.source.notes.append(Left(path, "", why))
        for line in authbind_lines.read(data):
            carried = authbind_lines.carry(line)
            texts += [carried.text] if public else authbind_lines.rule_alone(carried)
            shown = line.raw[:80].decode("utf-8", "backslashreplace") if public else ""
            if carried.note:
                notes = self.source.notes if carried.kept else self.source.left
                notes.append(Left(f"{path} line {line.number}", shown, carried.note))
            for at, meaning in enumerate(line.meanings):
                lost = meaning.odd or ("" if carried.kept and at == 0 else carried.note)
                meanings.append((meaning.rule, lost))
                self.source.claims.extend(
                    Claim(who, piece)
                    for piece in pieces(meaning.rule)
                    if _is_asked(piece.port_min, owner.reserved)
                )
        head = f"# from {printable(path)}".encode("ascii", "backslashreplace")[:255]
        if sum(len(text) + 1 for text in (head, *texts)) > FILE_SIZE_MAX:
            texts = [t for t in texts if not t.strip(b" \t").startswith(b"#") and t.strip(b" \t")]
        if sum(len(text) + 1 for text in (head, *texts)) > FILE_SIZE_MAX:
            self._leave(f"byuid/{name}", "", "has more than 1 MiB of rules; see pybind(5)")
            meanings[:] = [(rule, "the file is too big") for rule, _ in meanings]
        elif texts:
            self.source.files[owner.name] = [head, *texts]


def _is_asked(port: int, reserved: bool) -> bool:
    """Tell whether authbind asks a byuid file for a port. reserved: its name has the '!'."""
    return port <= LIBRARY_PORT_MAX and (port >= _HALF) == reserved


def _unread_flag(folder: str, name: str) -> str:
    """Return why authbind never looks at a byport or byaddr file; or ""."""
    if name.endswith((",tcp", ",udp")):
        return "authbind knows no protocols, and never looks at it"
    match = _PORT.fullmatch(name)
    if match is None or int(match[2][:6]) > 65535:
        return "its name is none that authbind looks at"
    port = int(match[2][:6])
    if port > LIBRARY_PORT_MAX:
        return f"authbind never serves port {port}: its library asks about ports below 1024"
    if _mapped_rule(name):
        return "a mapped address is judged as the IPv4 address inside it: see mapped-refused"
    entry = parse_name(folder, name)
    return entry.why if isinstance(entry, Unknown) else ""


def _mapped_rule(name: str) -> Rule | None:
    """Return the rule of a byaddr file for a v4-mapped address; None for other names."""
    where, _, port = name.lstrip("!").rpartition(",")
    try:
        addr = socket.inet_pton(socket.AF_INET6, where)
    except (OSError, ValueError):
        return None
    if not addr.startswith(MAPPED) or not re.fullmatch("[1-9][0-9]{0,4}", port):
        return None
    return Rule(int(socket.AF_INET6), addr, addr, int(port), int(port), None)


def _access(path: str) -> Access:
    """Return the access of a file of any kind; like authbind, follows links."""
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except FileNotFoundError:
        raise
    except OSError:
        return from_mode(0o600)  # authbind refuses; so does a file that nobody may execute
    return read_access(real) or from_mode(status.st_mode, status.st_uid, status.st_gid)


def _contents(path: str) -> bytes:
    """Return the contents of a byuid file; like authbind, follows links. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", path)
        data = file.read(_SIZE_MAX + 1)
    if len(data) > _SIZE_MAX:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


def _is_public(path: str) -> bool:
    """Tell whether everybody may read what a path leads to, and only root can put it there.

    What becomes a rule file is everybody's to read. A link in a user's folder may lead to a
    file of root's alone, whose lines would be there as comments.
    """
    if changeable(path) is not None:
        return False
    real = os.path.realpath(path)
    folders = map(str, pathlib.PurePath(real).parents)
    searchable = all(os.stat(folder).st_mode & stat.S_IXOTH for folder in folders)
    return searchable and bool(os.stat(real).st_mode & stat.S_IROTH)


def ask_as(
    root: str, meanings: Meanings, identity: Identity, addresses: list[Address]
) -> list[OldAnswer]:
    """Return authbind's answers to a process of this identity; only for root. Raises Failed."""

    def work() -> list[OldAnswer]:
        return [_answer(identity.uid, meanings, address) for address in addresses]

    # The child enters the folder while it is root, as authbind's helper does.
    patience_s = 30 + len(addresses) / 10
    fields = answer_as(identity, work, folder=root, patience_s=patience_s)
    return [OldAnswer(*each) for each in fields]


def _answer(uid: int, meanings: Meanings, address: Address) -> OldAnswer:
    mark = "!" if address.port >= _HALF else ""
    for name in _flag_names(mark, address):
        if os.access(name, os.X_OK):
            return OldAnswer(True)
        try:
            os.stat(name)
        except FileNotFoundError:
            continue
        except OSError:
            pass
        return OldAnswer(False)
    reasons = [why for rule, why in meanings.get(f"{mark}{uid}", []) if _covers(rule, address)]
    return OldAnswer(bool(reasons), "" if "" in reasons else next(iter(reasons), ""))


def _flag_names(mark: str, address: Address) -> list[str]:
    text = socket.inet_ntop(address.family, address.addr)
    spelled = [f"{text},"]
    if address.family == socket.AF_INET:
        spelled.insert(0, f"{text}:")
    else:
        spelled.append(address_name(address.addr, short=False) + ",")
    names = [f"byport/{mark}{address.port}"]
    return names + [f"byaddr/{mark}{word}{address.port}" for word in spelled]


def _covers(rule: Rule, address: Address) -> bool:
    return (
        rule.family == address.family
        and rule.port_min <= address.port <= rule.port_max
        and rule.addr_min <= address.addr <= rule.addr_max
    )
