# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what is wrong with a permission file or folder that refuses, and the repair.

The helper has decided, and named the file. This module looks at the file again, only
to tell owner and mode. Each function returns lines; a command stands at the end of its
line, after ": ", and begins with sudo.
"""

from __future__ import annotations

import os
import shlex
import stat

from . import _wire, diagnose, repairs, trust
from .model import Reply
from .paths import CONFIG_DIR

SETUP = "repair: " + repairs.SETUP
_ELSEWHERE = "start pybind where it is not, or mount nothing there"


def flag(path: str, reply: Reply, uid: int) -> tuple[str, ...]:
    """Return lines about a flag file that refuses `uid`."""
    if reply.reason == _wire.REASON_FLAG_KIND:
        return ("to put it aside: " + repairs.put_aside(path),)
    if reply.reason == _wire.REASON_FLAG_ERROR:
        return unsearchable(path, uid) or (os.strerror(reply.cause), describe(path))
    if diagnose.mount_flags(path) & os.ST_NOEXEC:
        mount = diagnose.mount_point(path)
        return (
            f"its file system is mounted noexec, where no file is executable ({mount})",
            "repair: sudo " + diagnose.remount(path, "exec"),
        )
    command = ("pybindctl", "grant", repairs.account(uid), repairs.flag_spec(reply.name))
    return describe(path), "to grant all that it decides: " + repairs.sudo(command)


def rule_file(path: str, reply: Reply, uid: int) -> tuple[str, ...]:
    """Return lines about a rule file that refuses `uid`."""
    quoted = shlex.quote(path)
    if reply.reason == _wire.REASON_RULES_BROKEN:
        fault = _wire.FAULT_TEXTS.get(reply.fault, f"fault {reply.fault}")
        return (f"{fault}; a broken line refuses the whole file", _edit(path, reply))
    if reply.reason == _wire.REASON_RULES_UNREADABLE:
        return unsearchable(path, uid) or (describe(path), f"repair: sudo chmod 0644 {quoted}")
    if reply.reason == _wire.REASON_RULES_UNSAFE:
        return (
            describe(path) + "; must be a regular file of root's that no other can write",
            "repair: " + repairs.rules_file(path, os.lstat(path)),
        )
    if reply.reason == _wire.REASON_RULES_TOO_BIG:
        return ("split it: rules for a group go to bygroup, a port range is one line",)
    return unsearchable(path, uid) or (os.strerror(reply.cause),)


def _edit(path: str, reply: Reply) -> str:
    """Return the command that repairs the broken line and keeps its grant if possible."""
    try:
        with open(path, "rb") as file:
            line = file.read().split(b"\n")[reply.line - 1]
    except (OSError, IndexError):
        line = b""
    return "repair: " + repairs.rule_line(path, reply.line, line)


def folder(reply: Reply, uid: int) -> tuple[str, ...]:
    """Return lines about a folder that makes the helper refuse everything.

    The folder is CONFIG_DIR, or one above or below it. The first line names the folder.
    """
    text = _wire.REASON_TEXTS[reply.reason]
    if reply.reason == _wire.REASON_CONFIG_MISSING:
        above = os.path.dirname(CONFIG_DIR)
        if diagnose.hidden_by_tmpfs(above):
            cause = f"a tmpfs is mounted over {above} (systemd: TemporaryFileSystem=)"
            return (
                f"{CONFIG_DIR}: {text}; {cause}",
                _ELSEWHERE,
                "or, if the host has it so: " + repairs.SETUP,
            )
        return f"{CONFIG_DIR}: {text}", SETUP
    asked = f"{CONFIG_DIR}/{reply.name}".rstrip("/")
    if reply.reason == _wire.REASON_CONFIG_ERROR:
        hidden = unsearchable(asked, uid)
        return hidden or (f"{asked}: {text} ({os.strerror(reply.cause)})", SETUP)
    path = _unsafe(asked)
    repair = SETUP
    if not _is(path, stat.S_ISDIR):
        quoted = shlex.quote(path)
        repair = f"repair: sudo sh -c 'mv {quoted} {quoted}.old && install -d -m 0755 {quoted}'"
    elif not path.startswith(CONFIG_DIR):
        quoted = shlex.quote(path)
        repair = f"repair: sudo sh -c 'chown root:root {quoted} && chmod 0755 {quoted}'"
    return (
        f"{text}: {describe(path)}; must be a directory of root's that no other can write",
        repair,
    )


def unsearchable(path: str, uid: int) -> tuple[str, ...]:
    """Return lines about the first folder on the way to `path` that `uid` cannot search.

    Empty when the user can search all of them.
    """
    for folder in trust.chain(path if os.path.isdir(path) else os.path.dirname(path)):
        try:
            status = os.lstat(folder)
        except OSError:
            return ()
        if stat.S_ISDIR(status.st_mode) and not _searchable(folder, status, uid):
            return _reveal(folder, status)
    return ()


def _searchable(path: str, status: os.stat_result, uid: int) -> bool:
    if uid == os.getuid() and uid != 0:
        return os.access(path, os.X_OK)
    # Of another user the groups are not known; and every user should be able to search.
    return bool(status.st_mode & stat.S_IXOTH)


def _reveal(path: str, status: os.stat_result) -> tuple[str, ...]:
    text = f"{describe(path)}: this user cannot search it"
    if not stat.S_IMODE(status.st_mode) and diagnose.mount_point(path) == path:
        return (
            f"{text}; something is mounted over it (systemd: InaccessiblePaths=)",
            _ELSEWHERE,
        )
    return text, f"repair: sudo chmod 0755 {shlex.quote(path)}"


def _unsafe(path: str) -> str:
    """Return the first folder on the way to `path` that the helper calls unsafe."""
    for folder in trust.chain(path):
        try:
            faults = trust.folder_faults(os.lstat(folder))
        except OSError:
            return folder
        if faults and faults != (trust.CLOSED,):
            return folder
    return path


def _is(path: str, test: object) -> bool:
    try:
        return bool(test(os.lstat(path).st_mode))  # type: ignore[operator]
    except OSError:
        return False


def describe(path: str) -> str:
    """Return owner, group and mode of a file, for a sentence; the error where it has none."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or 0)}"
    kind = "a symbolic link, " if stat.S_ISLNK(status.st_mode) else ""
    return (
        f"{path} is {kind}owner {status.st_uid}, group {status.st_gid}, "
        f"mode {status.st_mode & 0o7777:04o}"
    )
