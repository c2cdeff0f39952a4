# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a copy of /etc/pybind as a plan would leave it, to try the plan.

Only the helper decides, and the path of its folder is compiled in. So the copy is a whole
root directory: it has etc/pybind and a copy of the helper, and the process that asks
there enters it by chroot(2). The copied helper has no capability: it answers, but can
bind nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence

from ...paths import CONFIG_DIR, FOLDERS, HELPER
from ...permissions.access import ACL_NAME, Access, give_access
from ...permissions.changing.writing import Change
from ...permissions.errors import Failed

_PLACES = ("/run", "/tmp", "/var/tmp")


@contextlib.contextmanager
def copy(changes: Sequence[Change]) -> Iterator[str]:
    """Yield the path of the copy; removes it at the end. Only for root. Raises Failed."""
    try:
        root = tempfile.mkdtemp(prefix="pybindctl-plan.", dir=_place())
    except OSError as error:
        raise _failed(error) from error
    try:
        try:
            _fill(root, changes)
        except OSError as error:
            raise _failed(error) from error
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _failed(error: OSError) -> Failed:
    return Failed(f"the plan cannot be tried: {error.filename or 'a copy'}: {error.strerror}")


def _place() -> str:
    """Return a folder that is not mounted noexec: flag files must be executable there."""
    for place in _PLACES:
        with contextlib.suppress(OSError):
            if not os.statvfs(place).f_flag & (os.ST_NOEXEC | os.ST_RDONLY):
                return place
    raise Failed(f"the plan cannot be tried: {', '.join(_PLACES)} are all mounted noexec")


def _fill(root: str, changes: Sequence[Change]) -> None:
    before = os.umask(0o022)
    try:
        os.makedirs(root + os.path.dirname(HELPER))
        shutil.copyfile(HELPER, root + HELPER)
        os.chmod(root + HELPER, 0o711)  # of what a user cannot read nobody traces a process
        os.makedirs(root + os.path.dirname(CONFIG_DIR))
        _copy(root, CONFIG_DIR)
        planned = {change.path for change in changes}
        for folder in FOLDERS:
            _copy(root, f"{CONFIG_DIR}/{folder}")
            for name in _names(f"{CONFIG_DIR}/{folder}"):
                path = f"{CONFIG_DIR}/{folder}/{name}"
                if path not in planned:
                    _copy(root, path)
        for change in changes:
            os.makedirs(os.path.dirname(root + change.path), exist_ok=True)
            _write(root, change)
        os.chmod(root, 0o755)  # last: nobody else sees a part of it
    finally:
        os.umask(before)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _copy(root: str, path: str) -> None:
    """Copy one folder (empty) or file: its kind, owner, mode, list, and a rule file's lines."""
    target = root + path
    try:
        fd = _hold(path)
    except FileNotFoundError:
        return
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISLNK(mode):
            os.symlink("none", target)  # wherever it leads: the helper refuses a link
        elif stat.S_ISDIR(mode):
            os.mkdir(target)
        elif stat.S_ISREG(mode):
            shutil.copyfile(f"/proc/self/fd/{fd}", target)
        else:
            os.mkfifo(target)
        _liken(target, fd)
    finally:
        os.close(fd)


def _hold(path: str) -> int:
    """Return a descriptor of a file itself.

    Who can write its folder may put a link there between two looks, and what root reads of
    it would be in the copy for everybody.
    """
    return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)


def _liken(target: str, fd: int) -> None:
    status = os.fstat(fd)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return
    os.chmod(target, stat.S_IMODE(status.st_mode))
    try:
        acl = os.getxattr(f"/proc/self/fd/{fd}", ACL_NAME)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
    else:
        os.setxattr(target, ACL_NAME, acl)


def _write(root: str, change: Change) -> None:
    """Write one file as it is planned; a rule file that is here keeps its owner and mode."""
    if change.new is None:
        return
    with open(root + change.path, "xb") as file:
        if isinstance(change.new, Access):
            give_access(file.fileno(), change.new)
            return
        file.write(change.new)
    if change.old is not None:
        fd = _hold(change.path)
        try:
            _liken(root + change.path, fd)
        finally:
            os.close(fd)
