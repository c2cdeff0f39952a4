# SPDX-License-Identifier: GPL-3.0-or-later
"""The permission files and their folders in memory: read once, then after each change.

catch_up() reads changed files until no more changes are reported. Only then all of them
were read as they were at one moment, and only then they may become a table.

trust.folder_faults() describes what each folder must be. The helper looks at the folders
at each bind, with its caller's rights. The table has one answer for all callers. So if
callers may find a folder different, everything is left to the helper.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .. import mountinfo
from ..mountinfo import Mount
from ..paths import CONFIG_DIR, FOLDERS
from ..permissions.names import Owner, Unknown, parse_name
from ..trust import CLOSED, NO_FOLDER, UNSAFE, chain, folder_faults
from .entries import Item, left, read_item
from .table import Numbers, Table, build, empty
from .watch import Watch

# File systems where only owner, mode and access control list decide who may open a file,
# and which no other machine can change.
KNOWN_FILE_SYSTEMS = frozenset(
    "bcachefs btrfs erofs ext2 ext3 ext4 f2fs overlay ramfs rootfs squashfs tmpfs xfs zfs".split()
)
_ACL = "system.posix_acl_access"
STORM = 50  # changes of one file in a second; with more, the file is left to the helper
STORM_OVER_S = 2.0  # after this time without a change, the file is read again
ROUNDS = 10  # recheck() reads all files again in this many steps
_UNKNOWN = 0  # no file has this stamp
_YOUNG_NS = 10**9
_FLAG_FOLDERS = ("byport/", "byaddr/")
_DISTURBED = "changes all the time"


class Folders(NamedTuple):
    """The state of the folders, for all files at once.

    refuses: why the helper refuses everything, or None.
    left: why everything is left to the helper, or None.
    noexec: those of FOLDERS that are mounted noexec.
    mounted: names below CONFIG_DIR that are mount points.
    """

    refuses: str | None
    left: str | None
    noexec: frozenset[str]
    mounted: frozenset[str]


def read_mounts(path: str = mountinfo.OWN) -> dict[int, Mount]:
    """Return what is mounted in a process's mount namespace, by mount id. Raises OSError."""
    return {mount.ident: mount for mount in mountinfo.read(path)}


def read_folders() -> Folders:
    """Look at all folders. Raises OSError only for /proc."""
    mounts = read_mounts()
    refuses: list[str] = []
    left: list[str] = []
    noexec = set()
    for path in [*chain(CONFIG_DIR), *(f"{CONFIG_DIR}/{folder}" for folder in FOLDERS)]:
        below = path.startswith(CONFIG_DIR + "/")
        if _look_or_note(path, mounts, refuses, left) and below:
            noexec.add(path.rpartition("/")[2])
    prefixes = tuple(f"{CONFIG_DIR}/{folder}/" for folder in FOLDERS)
    mounted = {
        mount.path[len(CONFIG_DIR) + 1 :]
        for mount in mounts.values()
        if mount.path.startswith(prefixes)
    }
    return Folders(
        refuses[0] if refuses else None,
        left[0] if left else None,
        frozenset(noexec),
        frozenset(mounted),
    )


def _look_or_note(path: str, mounts: dict[int, Mount], refuses: list[str], left: list[str]) -> bool:
    try:
        return _look(path, mounts, refuses, left)
    except FileNotFoundError:
        if not path.startswith(CONFIG_DIR + "/"):  # one of the four counts as empty
            refuses.append(f"{path} does not exist")
    except OSError as error:
        refuses.append(f"{path}: {os.strerror(error.errno or 0)}")
    return False


def _look(path: str, mounts: dict[int, Mount], refuses: list[str], left: list[str]) -> bool:
    """Look at one folder, add its faults to the lists; return whether it is mounted noexec."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        faults = folder_faults(status)
        if NO_FOLDER in faults:
            refuses.append(f"{path} is not a directory")
            return False
        mode = f"{status.st_mode & 0o7777:04o}"
        if UNSAFE in faults:
            refuses.append(f"{path} is not safely root's (owner {status.st_uid}, mode {mode})")
        if CLOSED in faults:
            left.append(f"{path} cannot be searched by everybody (mode {mode})")
        if _has_list(path):
            left.append(f"{path} has an access control list")
        mount = mounts.get(_mount_id(fd))
        if mount is None:
            left.append(f"{path}: its mount is not in {mountinfo.OWN}")
        elif mount.kind not in KNOWN_FILE_SYSTEMS:
            left.append(f"{path} is on {mount.kind}, where modes may not be all that counts")
        elif "idmapped" in mount.options:
            left.append(f"{path} is on an id-mapped mount")
        return bool(os.fstatvfs(fd).f_flag & os.ST_NOEXEC)
    finally:
        os.close(fd)


def _has_list(path: str) -> bool:
    try:
        os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
    return True


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    return -1


class Files:
    """All permission files.

    changed: the files differ from the last table().
    on_moved: called when the folders changed, before their files are read: the table in
    force must not count any longer.
    """

    def __init__(self, watch: Watch, on_moved: Callable[[], None]) -> None:
        self._watch = watch
        self._on_moved = on_moved
        self._folders = Folders("not read yet", None, frozenset(), frozenset())
        self._identity: tuple[object, ...] = ()
        self._items: dict[str, Item] = {}
        self._stamps: dict[str, int] = {}  # of flag files that were read again
        self._storms: dict[str, tuple[float, int]] = {}  # name -> (start of the second, changes)
        self._quiet_at: dict[str, float] = {}  # name -> time.monotonic() when to read it again
        self._round: Iterator[list[str]] = iter(())
        self._again = True
        self.changed = True

    def read_everything(self) -> None:
        """Make the next catch_up() read all files again."""
        self._again = True

    def catch_up(self, until: float) -> bool:
        """Read changed files; return whether no more changes are reported.

        until: when to return False, in seconds of time.monotonic().
        """
        while True:
            changes = self._watch.drain()
            if changes.lost:
                self._again = True
            if self._again or changes.folders:
                self._read_folders()
            names = {path[len(CONFIG_DIR) + 1 :] for path in changes.paths}
            names |= {name for name, at in self._quiet_at.items() if at <= time.monotonic()}
            busy = [self._refresh(name) for name in names]
            if not self._again and not changes.folders and not changes.lost and not any(busy):
                return True
            if time.monotonic() >= until:
                return False

    def _read_folders(self) -> None:
        """Look at the folders; if these are other folders than before, read all files."""
        parents = chain(CONFIG_DIR)
        above = [
            (path, frozenset([below.rpartition("/")[2]]))
            for path, below in zip(parents, parents[1:])
        ]
        above.append((CONFIG_DIR, frozenset(FOLDERS)))
        paths = [f"{CONFIG_DIR}/{folder}" for folder in FOLDERS]
        watches: tuple[int, ...] = ()
        try:
            watches = self._watch.watch_folders(above, paths)
            folders = read_folders()
        except OSError as error:
            why = f"the folders cannot be watched: {os.strerror(error.errno or 0)}"
            folders = Folders(None, why, frozenset(), frozenset())
        # The watches belong to the identity: a folder with a new watch may have files that
        # came before the watch.
        identity = (watches, *map(_identity, [*parents, *paths]))
        known = not self._again and identity == self._identity
        if known and folders == self._folders:
            return
        self.changed = True
        self._on_moved()
        known = known and folders.noexec == self._folders.noexec
        known = known and folders.mounted == self._folders.mounted
        self._folders, self._identity, self._again = folders, identity, False
        if known:
            return
        for name in self._items:
            self._watch.forget_file(f"{CONFIG_DIR}/{name}")
        self._items.clear()
        self._stamps.clear()
        self._storms.clear()
        self._quiet_at.clear()
        if not folders.refuses and not folders.left:
            for name in _list_names():
                self._read(name)

    def _refresh(self, name: str) -> bool:
        """Read a file whose change was reported; False if it changes too often for that."""
        now = time.monotonic()
        if self._quiet_at.get(name, 0) > now:
            self._quiet_at[name] = now + STORM_OVER_S
            return False
        began, count = self._storms.get(name, (now, 0))
        began, count = (began, count + 1) if now - began < 1 else (now, 1)
        self._storms[name] = (began, count)
        if count > STORM:
            self._quiet_at[name] = now + STORM_OVER_S
        elif name in self._quiet_at:
            del self._quiet_at[name]
        if len(self._storms) > 2 * len(self._items) + 1000:
            self._storms = {k: v for k, v in self._storms.items() if now - v[0] < 1}
        self._read(name)
        return True

    def _read(self, name: str) -> None:
        self._stamps.pop(name, None)
        item = self._item(name)
        if item != self._items.get(name):
            self.changed = True
            if item is None:
                del self._items[name]
            else:
                self._items[name] = item

    def _item(self, name: str) -> Item | None:
        folder, _, rest = name.partition("/")
        named = parse_name(folder, rest) if folder in FOLDERS else None
        if named is None or isinstance(named, Unknown):
            return None
        path = f"{CONFIG_DIR}/{name}"
        if name in self._quiet_at:
            self._watch.forget_file(path)  # no more events until the file is read again
            return left(named, _DISTURBED)
        try:
            self._watch.watch_file(path, contents=isinstance(named, Owner))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return left(named, f"cannot be watched: {os.strerror(error.errno or 0)}")
        if name in self._folders.mounted:
            return left(named, "is a mount point")
        item = read_item(named, folder in self._folders.noexec)
        if item is None:
            self._watch.forget_file(path)
        return item

    def recheck(self) -> None:
        """Read a tenth of all files again, because not every change is reported (watch.py)."""
        names = next(self._round, None)
        if names is None:
            self._read_folders()
            every = sorted({*self._items, *_list_names()} if self._readable() else self._items)
            step = len(every) // ROUNDS + 1
            self._round = iter([every[at : at + step] for at in range(0, len(every), step)])
            return
        for name in names:
            path = f"{CONFIG_DIR}/{name}"
            known = self._stamps.get(name, _UNKNOWN)
            if name in self._quiet_at or (known != _UNKNOWN and known == _stamp(path)):
                continue
            self._read(name)
            if name.startswith(_FLAG_FOLDERS):
                self._stamps[name] = _stamp(path)

    def _readable(self) -> bool:
        return not self._folders.refuses and not self._folders.left

    def table(self, numbers: Numbers) -> Table:
        """Return the table of the files; only call it after catch_up() returned True."""
        self.changed = False
        if not self._readable():
            refuses = self._folders.refuses or ""
            return empty("" if refuses else self._folders.left or "", refuses)
        return build(self._items.values(), numbers)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _stamp(path: str) -> int:
    """Return a number that changes with owner, mode or access control list of a file.

    _UNKNOWN for a file that has just changed: its change time has the resolution of a
    clock tick, so another change may have the same time.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return _UNKNOWN
    if time.time_ns() - status.st_ctime_ns < _YOUNG_NS:
        return _UNKNOWN
    kept = (status.st_dev, status.st_ino, status.st_mode, status.st_nlink, status.st_uid)
    return hash((*kept, status.st_gid, status.st_ctime_ns)) or 1


def _list_names() -> Iterator[str]:
    for folder in FOLDERS:
        names: list[str] = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(f"{CONFIG_DIR}/{folder}")
        yield from (f"{folder}/{name}" for name in names)
