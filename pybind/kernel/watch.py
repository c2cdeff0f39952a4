# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports changes below /etc/pybind, by inotify(7) and mountinfo (leaf).

The kernel queues an event before the system call that causes it returns. So if files are
read after their watches were set, and then no event is there, all were read as they were
at this moment. The kernel does not report writes through a shared mapping before
munmap(2). A watch on a folder does not see changes through another hard link, so each
file has a watch too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
from typing import NamedTuple

_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16
IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE = 0x2, 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT = 0x400, 0x800, 0x2000
IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR, IN_DONT_FOLLOW = 0x4000, 0x8000, 0x1000000, 0x2000000
_CONTENT = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE
_SELF = IN_DELETE_SELF | IN_MOVE_SELF
_NAMES = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
# Changes of a file are reported by the file's watch only, those of a folder by the watch of
# the folder above. A user who changes their flag file in a loop then makes equal events.
# The kernel merges equal events, so that such a user cannot make the queue overflow.
_FOLDER = _SELF | _NAMES | IN_ONLYDIR | IN_DONT_FOLLOW
_ABOVE = IN_ATTRIB | _SELF | _NAMES | IN_ONLYDIR | IN_DONT_FOLLOW
_FLAG_FILE = IN_ATTRIB | _SELF | IN_DONT_FOLLOW
_RULE_FILE = _CONTENT | _SELF | IN_DONT_FOLLOW


class Changes(NamedTuple):
    """Reported changes.

    paths: files that may have changed. folders: a folder or a mount may have changed.
    lost: the queue has overflowed, and events are missing.
    """

    paths: frozenset[str]
    folders: bool
    lost: bool

    def __bool__(self) -> bool:
        return bool(self.paths or self.folders or self.lost)


class Watch:
    """Watches folders and files.

    Methods raise OSError. ENOSPC: fs.inotify.max_user_watches is reached.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        mounts_fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        # poll(2) on mountinfo reports a change once for each open file: this one is for
        # waiting, mounts_fd for drain().
        self.wake_fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts = select.poll()
        self._mounts.register(mounts_fd, select.POLLPRI)
        # Number of the watch -> the folder, and the names in it that matter (None: all).
        self._folders: dict[int, tuple[str, frozenset[str] | None]] = {}
        self._files: dict[int, set[str]] = {}
        self._numbers: dict[str, int] = {}
        self._mounts.poll(0)

    def _add(self, path: str, mask: int) -> int:
        number: int = self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if number < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        return number

    def _remove(self, number: int) -> None:
        self._libc.inotify_rm_watch(self.fd, number)  # EINVAL: it ended with its inode

    def watch_folders(
        self, above: list[tuple[str, frozenset[str]]], folders: list[str]
    ) -> tuple[int, ...]:
        """Watch these folders and no others; return the numbers of the watches.

        above: (folder, names in it that matter). The watch of the folder above reports when
        a missing folder appears. A number is never used again for another folder.
        """
        wanted: dict[int, tuple[str, frozenset[str] | None]] = {}
        plan: list[tuple[str, frozenset[str] | None, int]] = [
            *((path, names, _ABOVE) for path, names in above),
            *((path, None, _FOLDER) for path in folders),
        ]
        for path, names, mask in plan:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                wanted[self._add(path, mask)] = (path, names)
        for number in self._folders.keys() - wanted.keys():
            self._remove(number)
        self._folders = wanted
        return tuple(wanted)

    def watch_file(self, path: str, contents: bool) -> None:
        """Watch the file that is at this path now, not one that was there before.

        contents: report changes of the contents too.
        """
        try:
            number = self._add(path, _RULE_FILE if contents else _FLAG_FILE)
        except OSError:
            self.forget_file(path)
            raise
        if self._numbers.get(path) != number:
            self.forget_file(path)
            self._numbers[path] = number
            self._files.setdefault(number, set()).add(path)

    def forget_file(self, path: str) -> None:
        """End the watch of this path."""
        number = self._numbers.pop(path, None)
        if number is None:
            return
        paths = self._files.get(number, set())
        paths.discard(path)
        if not paths:
            self._files.pop(number, None)
            self._remove(number)

    def drain(self) -> Changes:
        """Return the changes since the last call, without waiting."""
        paths: set[str] = set()
        folders = bool(self._mounts.poll(0))
        lost = False
        while True:
            try:
                data = os.read(self.fd, _BUFFER)
            except BlockingIOError:
                return Changes(frozenset(paths), folders, lost)
            at = 0
            while at < len(data):
                number, mask, _, size = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = data[at : at + size].rstrip(b"\0")
                at += size
                lost |= bool(mask & IN_Q_OVERFLOW)
                folders |= self._sort(number, mask, os.fsdecode(name), paths)

    def _sort(self, number: int, mask: int, name: str, paths: set[str]) -> bool:
        """Add the files of one event to paths; return whether it is about a folder."""
        if number in self._folders:
            path, names = self._folders[number]
            if not name:
                return True
            if names is None:
                paths.add(f"{path}/{name}")
            return names is not None and name in names
        paths |= self._files.get(number, set())
        if mask & IN_IGNORED:
            for path in self._files.pop(number, set()):
                self._numbers.pop(path, None)
        return False
