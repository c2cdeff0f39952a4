# SPDX-License-Identifier: GPL-3.0-or-later
"""Who: a user, a group or everyone. Identity: a user as the kernel sees their processes.

Only this module turns names into numbers.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
from typing import NamedTuple

from ..become import groups_of
from ..model import ID_MAX
from ..repairs import is_word_for_user, printable
from .errors import AdminError

USER, GROUP, EVERYONE = "user", "group", "everyone"
NOBODY = 65534  # stands for a user without grants of their own


class Who(NamedTuple):
    """A user, a group or everyone, as the WHO of a grant.

    kind: USER, GROUP or EVERYONE. ident: uid or gid; NOBODY for EVERYONE. name: as in
    passwd(5) or group(5), or the number if there is no name.
    """

    kind: str
    ident: int
    name: str

    @property
    def text(self) -> str:
        """Return the WHO to type: alice, @www-data, everyone.

        It has the number if the name cannot be typed, or would mean somebody else: an
        account may be called everyone, 1234 or @wheel.
        """
        if self.kind == EVERYONE:
            return self.name
        word = self.name if is_word_for_user(self.name) else str(self.ident)
        return f"@{word}" if self.kind == GROUP else word

    @property
    def described(self) -> str:
        """Return the text for messages: alice (uid 1000)."""
        if self.kind == EVERYONE:
            return self.name
        return f"{self.text} ({'uid' if self.kind == USER else 'gid'} {self.ident})"


class Identity(NamedTuple):
    """The ids that a process of a user has.

    groups: the supplementary groups without gid. name: of the account, or None for a uid
    without an account.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str | None

    def __str__(self) -> str:
        return f"uid {self.uid} ({self.subject})" if self.name else f"uid {self.uid}"

    @property
    def subject(self) -> str:
        """Return the account's name, safe for a terminal; without an account: uid 1000."""
        return printable(self.name) if self.name else f"uid {self.uid}"


def parse_who(text: str) -> Who:
    """Return the Who of a typed WHO: a user or uid, @ and a group or gid, or everyone.

    Raises AdminError.
    """
    if text == EVERYONE:
        return everyone()
    if text.startswith("@"):
        return group(text[1:])
    return user(text)


def everyone() -> Who:
    """Return the Who that means every user of this host."""
    return Who(EVERYONE, NOBODY, EVERYONE)


def user(text: str) -> Who:
    """Return the Who of a user's name or number. Raises AdminError."""
    if re.fullmatch("[0-9]+", text):
        return user_of(_ident(text, "uid"))
    try:
        return Who(USER, pwd.getpwnam(text).pw_uid, text)
    except (KeyError, ValueError):  # ValueError: a NUL, or a surrogate
        pass
    hint = "users: getent passwd"
    try:
        grp.getgrnam(text)
        hint = f"there is a group of that name: write @{text}"
    except (KeyError, ValueError):
        pass
    raise AdminError(f"no user {text!r} on this host", hint)


def group(text: str) -> Who:
    """Return the Who of a group's name or number. Raises AdminError."""
    if re.fullmatch("[0-9]+", text):
        return group_of(_ident(text, "gid"))
    try:
        return Who(GROUP, grp.getgrnam(text).gr_gid, text)
    except (KeyError, ValueError):
        raise AdminError(f"no group {text!r} on this host", "groups: getent group") from None


def user_of(uid: int) -> Who:
    """Return the Who of a uid; without a name in passwd(5) the number is the name."""
    try:
        return Who(USER, uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return Who(USER, uid, str(uid))


def group_of(gid: int) -> Who:
    """Return the Who of a gid; without a name in group(5) the number is the name."""
    try:
        return Who(GROUP, gid, grp.getgrgid(gid).gr_name)
    except KeyError:
        return Who(GROUP, gid, str(gid))


def _ident(text: str, kind: str) -> int:
    ident = int(text) if len(text) <= 10 else ID_MAX + 1
    if ident > ID_MAX:
        raise AdminError(f"{kind} {text} is out of range (0 to {ID_MAX})")
    return ident


def rules_name(who: Who, reserved: bool) -> str:
    """Return the name of the rule file of a user or group: byuser/!1000, bygroup/33."""
    folder = "byuser" if who.kind == USER else "bygroup"
    return f"{folder}/{'!' if reserved else ''}{who.ident}"


def identity_of(user: str | int | None) -> Identity:
    """Return the Identity of a user. user: a name, a uid, or None for the caller.

    The caller has the groups of this process. Another user has the groups of a new login.
    A uid without an account (in a container, or of systemd's DynamicUser=) has only the
    group of the same number. Raises AdminError.
    """
    uid = os.getuid() if user is None else _uid(user)
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        entry = None
    if uid == os.getuid():
        gid, groups = os.getgid(), os.getgroups()
    elif entry is None:
        gid, groups = uid, []
    else:
        gid, groups = entry.pw_gid, groups_of(entry.pw_name, entry.pw_gid)
    name = entry.pw_name if entry else None
    return Identity(uid, gid, tuple(sorted(set(groups) - {gid})), name)


def _uid(user: str | int) -> int:
    if isinstance(user, int) or re.fullmatch("[0-9]{1,10}", user):
        if 0 <= int(user) <= ID_MAX:
            return int(user)
    else:
        with contextlib.suppress(KeyError, ValueError):
            return pwd.getpwnam(user).pw_uid
    raise AdminError(f"no user {user!r}: give an account's name or a number (see: getent passwd)")


def identity_for(who: Who) -> Identity:
    """Return an Identity to ask the helper about grants of `who`.

    A user has the groups of a new login. For a group: NOBODY, in that group only. For
    everyone: NOBODY, without any group of theirs.
    """
    if who.kind == GROUP:
        return Identity(NOBODY, who.ident, (), None)
    if who.kind == EVERYONE:
        return Identity(NOBODY, NOBODY, (), None)
    return identity_of(who.ident)
