# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives root's rights away for good: what comes after runs as the --user.

Ids first, capabilities second: a process that root gave ambient or inheritable
capabilities, or the securebits KEEP_CAPS or NO_SETUID_FIXUP, would keep some
over setresuid(2) (capabilities(7)). Nothing is believed until it was read back.
The bounding set stays: the helper's file capability comes out of it.
"""

from __future__ import annotations

import ctypes
import os

from .diagnose import own_status
from .errors import Refused
from .model import Account

# linux/prctl.h, linux/capability.h
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_WORDS = 2 * 3  # effective, permitted, inheritable, of 32 bits each

_libc = ctypes.CDLL(None, use_errno=True)


def become(account: Account) -> None:
    """Change all ids and groups, empty every capability set but the bounding set.

    Raises Refused; the process must then end, whatever it has become.
    """
    if os.geteuid() != 0:
        raise Refused(
            f"--user {account.name} needs root, and this is uid {os.geteuid()}",
            "start it as root, or leave --user away to run the program as yourself",
        )
    try:
        _libc.prctl(_PR_SET_KEEPCAPS, *map(ctypes.c_ulong, (0, 0, 0, 0)))  # fails where locked
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        _empty_capabilities()
    except OSError as error:
        raise Refused(
            f"cannot become {_who(account)}: {error.strerror}",
            "it takes CAP_SETUID and CAP_SETGID, and in a user namespace an id that is mapped",
        ) from None
    _verify(account)


def _empty_capabilities() -> None:
    ambient = (_PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if (
        _libc.prctl(_PR_CAP_AMBIENT, *map(ctypes.c_ulong, ambient)) != 0
        or _libc.capset(header, (ctypes.c_uint32 * _CAPABILITY_WORDS)()) != 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _verify(account: Account) -> None:
    """Raise Refused unless the kernel says that everything is as it was asked for."""
    status = own_status()
    uid, gid = str(account.uid), str(account.gid)
    # Real, effective, saved and that of the file system (proc(5)).
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
