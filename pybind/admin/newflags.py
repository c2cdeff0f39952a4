# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes flag files with group and access control list, complete from their first moment.

changes.commit() makes new flag files with a mode of root's only.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from .access import ACL_NAME, Access
from .changes import Change
from .errors import Failed
from .rulefiles import LEFT_OVER

_HEAD, _ENTRY = struct.pack("<I", 2), struct.Struct("<HHI")  # linux/posix_acl_xattr.h


@contextlib.contextmanager
def make_flags(changes: list[Change]) -> Iterator[None]:
    """Make the files, and take them away again when the body fails. Needs locked()."""
    made: list[str] = []
    try:
        for change in changes:
            _make(change)
            made.append(change.path)
        yield
    except BaseException as error:
        for path in made:
            with contextlib.suppress(OSError):
                os.unlink(path)
        if isinstance(error, OSError):
            where = error.filename or "permission files"
            raise Failed(f"{where}: {error.strerror}; nothing was changed") from error
        raise


def _make(change: Change) -> None:
    folder, _, name = change.path.rpartition("/")
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)  # whatever the umask
    beside = f"{folder}/.{name}{LEFT_OVER[0]}"
    access = change.new
    assert isinstance(access, Access)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(beside, flags, 0o600)
    try:
        os.fchown(fd, access.uid, access.gid)
        if access.extended:
            entries = (_ENTRY.pack(tag, perm, ident) for tag, ident, perm in access.entries)
            os.setxattr(fd, ACL_NAME, _HEAD + b"".join(entries))
        else:
            os.fchmod(fd, access.mode)
        os.fsync(fd)
        os.link(beside, change.path)  # unlike rename(2) it replaces nothing
    finally:
        os.close(fd)
        os.unlink(beside)
