# SPDX-License-Identifier: GPL-3.0-or-later
"""--user USER[:GROUP]: whom it names, that user's environment, and becoming that user for good.

The look-ups in passwd(5) and group(5) may need root's rights, so they come first.

become() changes the ids before it empties the capability sets. A process to which
root gave ambient or inheritable capabilities, or the securebits KEEP_CAPS or
NO_SETUID_FIXUP, would keep some of them over setresuid(2) (capabilities(7)). At the
end the kernel is asked whether everything was changed. The bounding set stays: the
helper's file capability is limited by it.
"""

from __future__ import annotations

import grp
import os
import pwd
import re

from ._lean import TYPE_CHECKING
from .diagnose import own_status
from .errors import Refused, UsageError
from .model import ID_MAX, Account

if TYPE_CHECKING:
    from ctypes import CDLL

_PLAIN_SHELL = "/bin/sh"  # what an empty field means in passwd(5)
# These lead to the session and the mail of the user who started pybind.
_SESSION = (b"XDG_RUNTIME_DIR=", b"DBUS_SESSION_BUS_ADDRESS=", b"MAIL=")
# linux/prctl.h, linux/capability.h
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_WORDS = 2 * 3  # effective, permitted, inheritable, of 32 bits each


def groups_of(name: str, gid: int) -> list[int]:
    """Return the gids that a login of this account would get, `gid` among them."""
    try:
        return os.getgrouplist(name, gid)
    except UnicodeEncodeError:  # getgrouplist() takes only UTF-8, but a name may be any bytes
        return [gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)]


def resolve(text: str) -> Account:
    """Return the account that USER[:GROUP] names; digits are a number, never a name.

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
    """Return the user's entry; None for a number without an entry. Raises UsageError."""
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


def become(account: Account) -> None:
    """Change all ids and groups, empty every capability set but the bounding set.

    Raises Refused. The process must then end: it may be half another user.
    """
    if os.geteuid() != 0:
        raise Refused(
            f"--user {account.name} needs root, and this is uid {os.geteuid()}",
            "start it as root, or leave --user away to run the program as yourself",
        )
    import ctypes  # here: pybindctl imports this module only for groups_of()

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        libc.prctl(_PR_SET_KEEPCAPS, *map(ctypes.c_ulong, (0, 0, 0, 0)))  # fails where locked
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        _empty_capabilities(libc)
    except OSError as error:
        raise Refused(
            f"cannot become {_who(account)}: {error.strerror}",
            "it takes CAP_SETUID and CAP_SETGID, and in a user namespace an id that is mapped",
        ) from None
    _verify(account)


def _empty_capabilities(libc: CDLL) -> None:
    import ctypes

    ambient = (_PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if (
        libc.prctl(_PR_CAP_AMBIENT, *map(ctypes.c_ulong, ambient)) != 0
        or libc.capset(header, (ctypes.c_uint32 * _CAPABILITY_WORDS)()) != 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _verify(account: Account) -> None:
    """Raise Refused unless the kernel reports the ids, groups and capabilities asked for."""
    status = own_status()
    uid, gid = str(account.uid), str(account.gid)
    # The real, effective, saved and file system id (proc(5)).
    right = status["Uid"].split() == [uid] * 4 and status["Gid"].split() == [gid] * 4
    right = right and set(map(int, status["Groups"].split())) == set(account.groups)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        right = right and int(status[name], 16) == 0
    if not right:
        raise Refused(
            f"cannot become {_who(account)}: the kernel reports other ids, groups or capabilities "
            "than were set",
            "nothing was started",
        )


def _who(account: Account) -> str:
    groups = ",".join(map(str, account.groups))
    return f"uid {account.uid} ({account.name}), gid {account.gid}, groups {groups}"
