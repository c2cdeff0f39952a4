# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the permission files: all of a set of changes or none, each file whole.

Before the first file is replaced, the new contents of all files are written beside them
and synced. A file is replaced by rename(2). After an error, the old files are put back.
After a kill, each file is either old or new; the next run removes the temporary files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from ... import diagnose
from ...paths import CONFIG_DIR, FOLDERS
from ...repairs import SETUP, sudo
from .. import folders
from ..access import Access, copy_attributes, from_mode, give_access, write_access
from ..errors import Failed, NeedsRoot
from ..names import LEFT_OVER

_NEW, _OLD = LEFT_OVER
_IMPATIENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOCK = f"{CONFIG_DIR}/.pybindctl.lock"
_QUIET_S, _POLL_S = 1, 0.02  # a longer wait is reported; the lock is tried at this interval
_FS_IOC_GETFLAGS = 0x80086601  # linux/fs.h; FS_IMMUTABLE_FL and FS_APPEND_FL:
_FROZEN = 0x30


class Change(NamedTuple):
    """One file before and after the change.

    name: below CONFIG_DIR. old, new: bytes are the contents of a rule file; an Access is a
    flag file's; None: the file does not exist.
    """

    name: str
    old: bytes | Access | None
    new: bytes | Access | None

    @property
    def path(self) -> str:
        """Return the absolute path."""
        return f"{CONFIG_DIR}/{self.name}"


def need_root() -> None:
    """Raise NeedsRoot unless the caller is root."""
    if os.geteuid() != 0:
        raise NeedsRoot("only root can change grants; nothing was changed")


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of pybindctl, so that no two change the files at a time; waits for it.

    The lock is a file that only root can open. Any user can flock(2) a folder that they
    can read. Raises NeedsRoot, Failed.
    """
    need_root()
    _refuse_unsafe_folders()
    with as_failure(CONFIG_DIR):
        fd = _lock()
    try:
        with as_failure(CONFIG_DIR):
            for path in left_over():
                os.unlink(path)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(_LOCK)
        os.close(fd)


def _refuse_unsafe_folders() -> None:
    """Raise Failed if others than root can write one of the folders.

    A user who can write byport may replace a flag file by a link between two system
    calls. Root would then change the mode of any file on the host. A folder that passes
    stays safe: only root can change its owner or mode.
    """
    for trouble in folders.broken():
        repair = ("repair: " + trouble.repair,) if trouble.repair else ()
        raise Failed(f"{trouble.name}: {trouble.text}; nothing was changed", *repair)


def _lock() -> int:
    told = False
    while True:
        fd = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _QUIET_S
        while not _try_to_lock(fd):
            if not told and time.monotonic() > deadline:
                told = True
                print(f"pybindctl: note: {_who_is_waited_for(fd)}", file=sys.stderr, flush=True)
            time.sleep(_POLL_S)
        # The earlier holder has unlinked the file: if this is the old file, try again.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(_LOCK)):
                os.write(fd, f"{os.getpid()}\n".encode())
                return fd
        os.close(fd)


def _try_to_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _who_is_waited_for(fd: int) -> str:
    """Return the sentence about the wait. The holder has written its pid into the file."""
    pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
    return f"waiting for another pybindctl{f', process {pid}' if pid.isdecimal() else ''} ({_LOCK})"


def left_over() -> list[str]:
    """Return the paths of temporary files that a killed pybindctl has left."""
    paths = []
    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            paths += [
                f"{CONFIG_DIR}/{folder}/{name}"
                for name in os.listdir(f"{CONFIG_DIR}/{folder}")
                if name.startswith(".") and name.endswith(LEFT_OVER)
            ]
    return paths


def commit(changes: list[Change]) -> None:
    """Carry out all changes, or none. The caller holds locked(). Raises Failed."""
    undo: list[Change] = []
    current = CONFIG_DIR
    try:
        for change in changes:
            current = change.path
            _stage(change)
        for change in changes:
            current = change.path
            undo.append(change)
            _replace(change)
        _sync_folders(changes)
    except BaseException as error:
        with _undisturbed():
            _undo(undo)
            for change in changes:
                _discard(change)
        if isinstance(error, OSError):
            raise _failed(current, error) from error
        raise
    for change in changes:
        _discard(change)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep signals waiting: a second Ctrl-C must not leave half of the changes."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _IMPATIENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _beside(change: Change, suffix: str) -> str:
    folder, _, name = change.path.rpartition("/")
    return f"{folder}/.{name}{suffix}"


def _is_in_place(change: Change) -> bool:
    """Tell whether only owner, mode or list change: then nothing is renamed."""
    return isinstance(change.old, Access) and isinstance(change.new, Access)


def _stage(change: Change) -> None:
    if change.new is None or _is_in_place(change):
        return
    folder = os.path.dirname(change.path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)  # whatever the umask
    data = change.new if isinstance(change.new, bytes) else b""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(_beside(change, _NEW), flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        if isinstance(change.new, Access):
            give_access(file.fileno(), change.new)
        elif change.old is None:
            give_access(file.fileno(), from_mode(0o644))
        else:
            copy_attributes(change.path, file.fileno())
        os.fsync(file.fileno())


def _replace(change: Change) -> None:
    if isinstance(change.old, Access) and isinstance(change.new, Access):
        write_access(change.path, change.old, change.new)
        return
    if change.old is not None:
        os.link(change.path, _beside(change, _OLD), follow_symlinks=False)
    if change.new is None:
        os.unlink(change.path)
    else:
        os.rename(_beside(change, _NEW), change.path)


def _undo(done: list[Change]) -> None:
    for change in reversed(done):
        with contextlib.suppress(OSError):
            if isinstance(change.old, Access) and isinstance(change.new, Access):
                write_access(change.path, change.new, change.old)
            elif change.old is not None:
                os.rename(_beside(change, _OLD), change.path)
            elif not os.path.lexists(_beside(change, _NEW)):  # the new file is in its place
                os.unlink(change.path)
    with contextlib.suppress(OSError):
        _sync_folders(done)


def _discard(change: Change) -> None:
    for suffix in LEFT_OVER:
        with contextlib.suppress(OSError):
            os.unlink(_beside(change, suffix))


def _sync_folders(changes: list[Change]) -> None:
    for folder in sorted({os.path.dirname(change.path) for change in changes}):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextlib.contextmanager
def as_failure(path: str) -> Iterator[None]:
    """Turn an OSError about a file into Failed, with a repair if one is known."""
    try:
        yield
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: str, error: OSError) -> Failed:
    why = os.strerror(error.errno) if error.errno else str(error)
    hints = {
        errno.ENOSPC: f"make room: df -h {CONFIG_DIR}; df -i {CONFIG_DIR}",
        errno.EDQUOT: f"make room: df -h {CONFIG_DIR}",
        errno.EROFS: "repair: sudo " + diagnose.remount(path, "rw"),
        errno.ENOENT: "repair: " + SETUP,
        errno.EOPNOTSUPP: "its file system keeps no access control lists (mount option acl)",
    }
    hint = hints.get(error.errno or 0)
    if error.errno == errno.EPERM:
        hint = _immutable(path)
    return Failed(f"{path}: {why}; nothing was changed", *([hint] if hint else []))


def _immutable(path: str) -> str | None:
    """Return the command that undoes chattr(1) +i or +a on the file or its folder; or None."""
    for part in (path, os.path.dirname(path)):
        with contextlib.suppress(OSError):
            fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                flags = struct.unpack("i", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(4)))[0]
            finally:
                os.close(fd)
            if flags & _FROZEN:
                return "repair: " + sudo(("chattr", "-i", "-a", part))
    return None
