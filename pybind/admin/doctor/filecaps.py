# SPDX-License-Identifier: GPL-3.0-or-later
"""File capabilities: as the kernel stores them, and programs that have ports by them.

The form is struct vfs_cap_data of linux/capability.h, in words of 32 bits,
little-endian: magic and flags, low permitted, low inheritable, high permitted, high
inheritable. Revision 3 has one more word: the uid of root in the user namespace for
which the capabilities count.

setcap on an interpreter gives every port to every user and every script. It also puts
the interpreter into secure-execution mode. A grant replaces setcap.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ...diagnose import CAP_NET_BIND_SERVICE
from ...paths import HELPER

ATTRIBUTE = "security.capability"
_REVISION_2, _REVISION_3 = 0x02000000, 0x03000000
_EFFECTIVE = 1
# capability.h, in the order of their numbers.
_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable "
    "net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio "
    "sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time "
    "sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog "
    "wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
).split()
_FOLDERS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_TREES = ("/usr/lib/jvm", "/opt", "/usr/local/lib", "/usr/local/go", "/usr/local/node")
_DEPTH_MAX = 6  # /opt/VENDOR/PRODUCT/VERSION/jre/bin/java
_ENTRIES_MAX = 200_000  # a tree may be very large, such as a mounted archive
# Programs that run any script: their capability serves every user.
_INTERPRETERS = (
    "python pypy java node nodejs deno bun ruby perl php lua mono dotnet erl beam.smp julia tclsh "
    "bash dash sh zsh busybox gdb socat guile racket sbcl R awk gawk mawk"
).split()


class FileCaps(NamedTuple):
    """The capabilities of a file. Sets are bit masks. root_uid: 0 in revision 2."""

    permitted: int
    inheritable: int
    effective: bool
    root_uid: int = 0

    def __str__(self) -> str:
        """Return the text that setcap(8) takes."""
        groups: dict[str, list[str]] = {}
        for name, bit in _names(self.permitted | self.inheritable):
            permitted = self.permitted >> bit & 1
            flags = "e" if self.effective else ""
            flags += ("i" if self.inheritable >> bit & 1 else "") + ("p" if permitted else "")
            groups.setdefault(flags, []).append(name)
        text = " ".join(f"{','.join(names)}={flags}" for flags, names in groups.items())
        return (text or "=") + (f" [rootid={self.root_uid}]" if self.root_uid else "")


HELPERS = FileCaps(1 << CAP_NET_BIND_SERVICE, 0, False)  # helpers/helper/caps.c says why


def _names(mask: int) -> Iterator[tuple[str, int]]:
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            yield f"cap_{_NAMES[bit] if bit < len(_NAMES) else bit}", bit


def decode(value: bytes) -> FileCaps | None:
    """Return the capabilities in an attribute; None for an unknown form."""
    if len(value) not in (20, 24):
        return None
    words = struct.unpack(f"<{len(value) // 4}I", value)
    if words[0] & 0xFF000000 != (_REVISION_2 if len(value) == 20 else _REVISION_3):
        return None
    permitted, inheritable = words[1] | words[3] << 32, words[2] | words[4] << 32
    root_uid = words[5] if len(words) > 5 else 0
    return FileCaps(permitted, inheritable, bool(words[0] & _EFFECTIVE), root_uid)


def encode(caps: FileCaps) -> bytes:
    """Return the attribute in revision 2."""
    flags = _REVISION_2 | (_EFFECTIVE if caps.effective else 0)
    low, high = 0xFFFFFFFF, 32
    permitted, inheritable = caps.permitted, caps.inheritable
    words = (permitted & low, inheritable & low, permitted >> high, inheritable >> high)
    return struct.pack("<5I", flags, *words)


def read(path: str | int) -> FileCaps | None:
    """Return the capabilities of a file; None if it has none, or in an unknown form."""
    try:
        return decode(os.getxattr(path, ATTRIBUTE))
    except OSError:
        return None


class Capable(NamedTuple):
    """A file whose capabilities let it bind every port."""

    path: str
    caps: FileCaps
    interpreter: bool


def is_interpreter(path: str) -> bool:
    """Tell whether a program of this name runs scripts: python3.11, java, node18."""
    name = os.path.basename(path)
    return name in _INTERPRETERS or name.rstrip("0123456789.-") in _INTERPRETERS


def find_capable(search: str) -> list[Capable]:
    """Return the capable programs in known folders and trees, and in those of `search` (a PATH)."""
    by_inode: dict[tuple[int, int], Capable] = {}
    for path in _files(search):
        caps = read(path)
        if caps is None or not caps.permitted >> CAP_NET_BIND_SERVICE & 1:
            continue
        status = os.stat(path)
        if path != os.path.realpath(HELPER):
            capable = Capable(path, caps, is_interpreter(path))
            by_inode.setdefault((status.st_dev, status.st_ino), capable)
    return sorted(by_inode.values())


def _files(search: str) -> Iterator[str]:
    folders = dict.fromkeys([*_FOLDERS, *filter(os.path.isabs, search.split(":"))])
    seen = set()
    for folder in folders:
        for entry in _entries(folder):
            path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if path not in seen and _is_program(path):
                seen.add(path)
                yield path
    left = _ENTRIES_MAX
    for tree in _TREES:
        for path in _walk(tree):
            left -= 1
            if left < 0:
                return
            if path not in seen and _is_program(path):
                seen.add(path)
                yield path


def _walk(tree: str) -> Iterator[str]:
    todo = [(tree, 0)]
    while todo:
        folder, depth = todo.pop()
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEPTH_MAX:
                    todo.append((entry.path, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _is_program(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)
