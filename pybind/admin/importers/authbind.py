# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads authbind's folder (byport, byaddr, byuid) as permission files for pybind.

What authbind's helper never looks at is not carried over, though pybind would
look at some of it: an import grants nothing that was not granted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import socket
import stat

from ...model import MAPPED
from ...permissions import spec
from ...permissions.access import (
    MASK,
    NAMED_USER,
    NO_ID,
    USER_OBJ,
    Access,
    R,
    X,
    from_mode,
    holders,
    read_access,
    with_permissions,
)
from ...permissions.errors import AdminError, Invalid
from ...permissions.names import Flag, Owner, Unknown, parse_name, pieces
from ...permissions.reading import FILE_SIZE_MAX
from ...permissions.who import NOBODY, user_of
from . import authbind_answers, authbind_lines
from .authbind_lines import LIBRARY_PORT_MAX
from .lists import Left, Old, Question, Source

_PORT = re.compile("(!?)(?:.*[,:])?([0-9]+)")
_HALF = 512  # from here on authbind wants the '!'


def read(folder: str) -> Source:
    """Return what the folder grants. Raises AdminError, Invalid where it cannot be carried over."""
    reader = _Reader(os.path.abspath(folder))
    if not os.path.isdir(folder):
        raise AdminError(f"{folder}: no such folder", "authbind's is /etc/authbind")
    for name in ("byport", "byaddr"):
        reader.read_flags(name)
    reader.read_rule_files()
    return reader.source


class _Reader:
    """One folder while it is read. meanings: of each byuid file, for who asks later."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.meanings: authbind_answers.Meanings = {}
        self.source = Source(root, {}, {}, [], [], [], [], self._ask)

    def _ask(self, questions: list[Question]) -> list[Old]:
        return authbind_answers.ask(self.root, self.meanings, questions)

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
                continue
            flag = parse_name(folder, name)
            if isinstance(flag, Flag):
                self._read_flag(flag)

    def _read_flag(self, flag: Flag) -> None:
        path = f"{self.root}/{flag.name}"
        try:
            before = _access(path)
        except FileNotFoundError:
            self._leave(flag.name, "", "a link to nothing, which authbind takes for no file")
            return
        access = _as_roots(before)
        if before.uid != 0:
            text = (
                f"belongs to {user_of(before.uid).described}, who could open it to others; here "
                "it is root's, with an entry for that user"
            )
            self.source.changed.append(Left(path, "", text))
        self.source.flags[flag.name] = access
        owner = [user_of(before.uid)] if before.uid else []
        for who in dict.fromkeys((*holders(before), *owner, user_of(NOBODY))):
            samples = [a for a in spec.samples(flag.rule) if not a.udp]  # one file for both
            self.source.questions.extend(Question(who, address) for address in samples)

    def read_rule_files(self) -> None:
        """Read byuid."""
        for name in self._names("byuid"):
            owner = parse_name("byuser", name)
            if not isinstance(owner, Owner):
                why = "authbind reads numbers only; for a user: pybindctl grant USER PORT"
                self._leave(f"byuid/{name}", "", why)
                continue
            try:
                data = _contents(f"{self.root}/byuid/{name}")
            except OSError as error:
                self._leave(f"byuid/{name}", "", f"cannot be read ({error.strerror})")
                continue
            self._read_rules(owner, name, data)

    def _read_rules(self, owner: Owner, name: str, data: bytes) -> None:
        path, who = f"{self.root}/byuid/{name}", user_of(owner.ident)
        texts, meanings = [], self.meanings.setdefault(name, [])
        for line in authbind_lines.read(data):
            carried = authbind_lines.carry(line)
            texts.append(carried.text)
            shown = line.raw[:80].decode("utf-8", "backslashreplace")
            if carried.note:
                notes = self.source.changed if carried.kept else self.source.left
                notes.append(Left(f"{path} line {line.number}", shown, carried.note))
            for at, meaning in enumerate(line.meanings):
                lost = meaning.odd or ("" if carried.kept and at == 0 else carried.note)
                meanings.append((meaning.rule, lost))
                for piece in pieces(meaning.rule):
                    if _is_asked(piece.port_min, owner.reserved):
                        samples = [a for a in spec.samples(piece) if not a.udp]
                        self.source.questions.extend(Question(who, a) for a in samples)
        head = f"# from {path}".encode("ascii", "backslashreplace")[:255]
        if sum(len(text) + 1 for text in (head, *texts)) > FILE_SIZE_MAX:
            texts = [t for t in texts if not t.strip(b" \t").startswith(b"#") and t.strip(b" \t")]
        if sum(len(text) + 1 for text in (head, *texts)) > FILE_SIZE_MAX:
            self._leave(f"byuid/{name}", "", "has more than 1 MiB of rules; see pybind(5)")
            meanings[:] = [(rule, "the file is too big") for rule, _ in meanings]
        elif texts:
            self.source.files[owner.name] = [head, *texts]


def _is_asked(port: int, reserved: bool) -> bool:
    """Tell whether authbind looks into a byuid file (reserved: with '!') for a port."""
    return port <= LIBRARY_PORT_MAX and (port >= _HALF) == reserved


def _unread_flag(folder: str, name: str) -> str:
    """Return why authbind does not look at a byport or byaddr file, or never needs to; or ""."""
    if name.endswith((",tcp", ",udp")):
        return "authbind knows no protocols, and never looks at it"
    match = _PORT.fullmatch(name)
    if match is None or int(match[2][:6]) > 65535:
        return "its name is none that authbind looks at"
    port = int(match[2][:6])
    if port > LIBRARY_PORT_MAX:
        return f"authbind never serves port {port}: its library asks about ports below 1024"
    if _is_mapped(name):
        return "a mapped address is judged as the IPv4 address inside it: see mapped-refused"
    entry = parse_name(folder, name)
    return entry.why if isinstance(entry, Unknown) else ""


def _is_mapped(name: str) -> bool:
    """Tell whether a byaddr file is for an IPv4 address in IPv6 clothes."""
    try:
        addr = socket.inet_pton(socket.AF_INET6, name.lstrip("!").rpartition(",")[0])
    except (OSError, ValueError):
        return False
    return addr.startswith(MAPPED)


def _access(path: str) -> Access:
    """Return who may execute what is there, links followed, of whatever kind it is."""
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except FileNotFoundError:
        raise
    except OSError:
        return from_mode(0o600)  # authbind refuses; a file that nobody may execute does too
    return read_access(real) or from_mode(status.st_mode, status.st_uid, status.st_gid)


def _as_roots(access: Access) -> Access:
    """Return the same permissions for a file that is root's: its owner becomes an entry."""
    found = access.effective()
    found.pop((MASK, NO_ID), None)
    if access.uid != 0:
        found[NAMED_USER, access.uid] = found[USER_OBJ, NO_ID]
    found = {key: perm & (R | X) for key, perm in found.items()}
    found[USER_OBJ, NO_ID] = 7 if any(perm & X for perm in found.values()) else 6
    return with_permissions(access._replace(uid=0), found)


def _contents(path: str) -> bytes:
    """Return a byuid file; links are followed, as authbind does."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", path)
        return file.read()
