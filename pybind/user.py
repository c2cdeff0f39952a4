# SPDX-License-Identifier: GPL-3.0-or-later
"""--user USER[:GROUP] -> Account, and the environment that belongs to it.

Pure but for look-ups in passwd(5) and group(5), which have to be made before
root's rights are given away: they may need them.
"""

from __future__ import annotations

import grp
import os
import pwd
import re

from .errors import UsageError
from .model import ID_MAX, Account

_PLAIN_SHELL = "/bin/sh"  # what an empty field means in passwd(5)
# They lead to the session and the mail of whoever started pybind.
_SESSION = (b"XDG_RUNTIME_DIR=", b"DBUS_SESSION_BUS_ADDRESS=", b"MAIL=")


def groups_of(name: str, gid: int) -> list[int]:
    """Return the groups of a new login of an account, gid among them."""
    try:
        return os.getgrouplist(name, gid)
    except UnicodeEncodeError:  # it takes UTF-8 only, and an account's name may be any bytes
        return [gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)]


def resolve(text: str) -> Account:
    """Return whom USER[:GROUP] names; digits are a number, never a name.

    Raises UsageError for a user or a group that does not exist, and for root.
    """
    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise UsageError(f"bad --user {text!r}: write USER or USER:GROUP, names or numbers")
    entry = _entry(text, user)
    uid = entry.pw_uid if entry else int(user)
    if uid == 0:
        raise UsageError(
            f"--user {text!r} is root, who needs no grant: to start a program as root, "
            "leave --user away",
        )
    if group:
        gid = _group(text, group)
    elif entry:
        gid = entry.pw_gid
    else:
        raise UsageError(
            f"uid {uid} has no entry in passwd(5), so its group is not known",
            f"say it: --user {user}:GROUP",
        )
    if entry is None:
        return Account(user, uid, gid, (gid,), "/", _PLAIN_SHELL)
    groups = tuple(groups_of(entry.pw_name, gid))
    home, shell = entry.pw_dir or "/", entry.pw_shell or _PLAIN_SHELL
    return Account(entry.pw_name, uid, gid, groups, home, shell)


def environ_of(account: Account, environ: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return `environ` with HOME, SHELL, USER and LOGNAME of the account, as runuser(1) does."""
    own = {
        b"HOME=": account.home,
        b"SHELL=": account.shell,
        b"USER=": account.name,
        b"LOGNAME=": account.name,
    }
    kept = tuple(entry for entry in environ if not entry.startswith((*own, *_SESSION)))
    return (*kept, *(name + os.fsencode(value) for name, value in own.items()))


def _entry(text: str, user: str) -> pwd.struct_passwd | None:
    """Return the entry; None only for a number without one."""
    number = _number(text, user)
    try:
        return pwd.getpwnam(user) if number is None else pwd.getpwuid(number)
    except KeyError:
        if number is None:
            raise UsageError(f"bad --user {text!r}: there is no user {user!r}") from None
        return None


def _group(text: str, group: str) -> int:
    number = _number(text, group)
    if number is not None:
        return number
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"bad --user {text!r}: there is no group {group!r}") from None


def _number(text: str, word: str) -> int | None:
    if not re.fullmatch("[0-9]+", word):
        return None
    number = int(word) if len(word) < 12 else ID_MAX + 1
    if number > ID_MAX:
        raise UsageError(f"bad --user {text!r}: ids are 0 to {ID_MAX}")
    return number
