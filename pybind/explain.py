# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns a helper's reply into words: what was refused, why, what repairs it.

The only place with the wording of refusals. It explains and never decides:
every fact about the rules comes from the reply, and a file is looked at again
only to name its owner and mode.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat

from . import _wire, diagnose, trust
from ._lean import socket
from .binding import Verdict
from .model import MAPPED, Address, Reply
from .paths import CONFIG_DIR, FOLDERS, HELPER

_CONFIG_REASONS = (
    _wire.REASON_CONFIG_MISSING,
    _wire.REASON_CONFIG_UNSAFE,
    _wire.REASON_CONFIG_ERROR,
)


def what(address: Address) -> str:
    """Return `address` as users write it: 0.0.0.0:80/tcp, [::]:80/udp."""
    text = socket.inet_ntop(address.family, address.addr)
    if address.family == socket.AF_INET6:
        scope = f"%{address.scope_id}" if address.scope_id else ""
        text = f"[{text}{scope}]"
    return f"{text}:{address.port}/{'udp' if address.udp else 'tcp'}"


def granted_by(reply: Reply | None) -> str:
    """Return what granted: a file and line, or the kernel."""
    if reply is None:
        return "the kernel allows it without a grant"
    line = f" line {reply.line}" if reply.line else ""
    return f"{CONFIG_DIR}/{reply.name}{line}" if reply.name else "granted"


def refusal(verdict: Verdict, *, uid: int | None = None) -> list[str]:
    """Return the lines for an address that is not granted, or is busy.

    uid: who was asked about, where it is not the caller.
    """
    address, reply = verdict.address, verdict.reply
    uid = os.getuid() if uid is None else uid
    head = f"{what(address)} is refused to {_user(uid)}: "
    if reply is None or reply.reason == _wire.REASON_KERNEL:
        why = _kernel(address, verdict.error, reply)
    elif reply.reason in _CONFIG_REASONS and diagnose.in_user_namespace():
        why = diagnose.user_namespace()  # where root's files are nobody's
    elif reply.reason == _wire.REASON_NO_CAPABILITY:
        why = (_wire.REASON_TEXTS[reply.reason], *diagnose.lost_capability())
    else:
        why = _by_rules(address, reply, uid)
    return [head + why[0], *why[1:]]


def _by_rules(address: Address, reply: Reply, uid: int) -> tuple[str, ...]:
    """Add to the reason which half it is about, and what every refusal ends with."""
    half = ""
    if reply.v4_half:
        half = " (for its other half, 0.0.0.0: who binds :: takes the IPv4 port too)"
    reason, path = reply.reason, f"{CONFIG_DIR}/{reply.name}"
    text = _wire.REASON_TEXTS.get(reason, f"reason {reason}")
    if reason == _wire.REASON_NO_RULE:
        return (f"{text}{half}", "as root: " + grant_command(address, uid=uid))
    if reason in _CONFIG_REASONS:
        return _config(reply, text)
    if reason in (_wire.REASON_FLAG_DENIED, _wire.REASON_FLAG_KIND, _wire.REASON_FLAG_ERROR):
        return (f"{path}: {text}{half}", *_flag(path, reply, uid))
    if reply.name:
        line = f" line {reply.line}" if reply.line else ""
        return (f"{path}{line}: {text}{half}", *_rules(path, reply))
    cause = f" ({os.strerror(reply.cause)})" if reply.cause else ""
    return (text + cause,)


def grant_command(address: Address, *, uid: int | None = None) -> str:
    """Return the shell command that grants exactly this port to exactly this user."""
    uid = os.getuid() if uid is None else uid
    reserved = "!" if 512 <= address.port <= 1023 else ""
    addr = socket.inet_ntop(address.family, address.addr)
    where = addr if any(address.addr) else "any"
    if address.addr.startswith(MAPPED):
        where = socket.inet_ntop(socket.AF_INET, address.addr[12:])
    rule = f"{where},{address.port}/{'udp' if address.udp else 'tcp'}"
    file = f"{CONFIG_DIR}/byuser/{reserved}{uid}"
    # On a line of its own, also where the file's last line has no end.
    return f"sh -c 'umask 022; printf \"\\n{rule}\\n\" >>{file}'"


def _flag(path: str, reply: Reply, uid: int) -> tuple[str, ...]:
    quoted = shlex.quote(path)
    if reply.reason == _wire.REASON_FLAG_KIND:
        return ("as root, put it aside: " + f"mv {quoted} {quoted}.old",)
    if reply.reason == _wire.REASON_FLAG_ERROR:
        return (f"{os.strerror(reply.cause)}; {_describe(os.path.dirname(path))}",)
    try:
        noexec = os.statvfs(path).f_flag & os.ST_NOEXEC
    except OSError:
        noexec = 0
    if noexec:
        mount = diagnose.mount_point(path)
        return (
            f"its file system is mounted noexec, where no file is executable ({mount})",
            "as root: " + diagnose.remount(path, "exec"),
        )
    repair = f"setfacl -m u:{uid}:x {quoted}"
    if os.path.lexists(path) and os.lstat(path).st_uid == uid:
        repair = f"chown root {quoted} && {repair}"  # an entry for the owner has no effect
    return (_describe(path), "as root: " + repair)


def _rules(path: str, reply: Reply) -> tuple[str, ...]:
    quoted = shlex.quote(path)
    if reply.reason == _wire.REASON_RULES_BROKEN:
        fault = _wire.FAULT_TEXTS.get(reply.fault, f"fault {reply.fault}")
        edit = "d"
        if reply.fault not in (_wire.FAULT_BYTE, _wire.FAULT_TOO_LONG):
            edit = "s/^/# /"
        return (
            f"{fault}; a broken line refuses the whole file",
            f"as root, correct it, or take it out: sed -i '{reply.line}{edit}' {quoted}",
        )
    if reply.reason == _wire.REASON_RULES_UNREADABLE:
        return (_describe(path), f"as root: chmod 0644 {quoted}")
    if reply.reason == _wire.REASON_RULES_UNSAFE:
        command = f"chown root:root {quoted} && chmod 0644 {quoted}"
        if not _is(path, stat.S_ISREG):
            command = f"mv {quoted} {quoted}.old"
        return (
            _describe(path) + "; must be a regular file of root's that no other can write",
            "as root: " + command,
        )
    if reply.reason == _wire.REASON_RULES_TOO_BIG:
        return ("as root, split it: rules for a group go to bygroup, a port range is one line",)
    return (os.strerror(reply.cause),)


def _config(reply: Reply, text: str) -> tuple[str, ...]:
    folders = " ".join(f"{CONFIG_DIR}/{folder}" for folder in FOLDERS)
    if reply.reason == _wire.REASON_CONFIG_MISSING:
        return (f"{CONFIG_DIR}: {text}", f"as root: install -d -m 0755 {CONFIG_DIR} {folders}")
    path = _unsafe_component(f"{CONFIG_DIR}/{reply.name}".rstrip("/"))
    quoted = shlex.quote(path)
    if reply.reason == _wire.REASON_CONFIG_ERROR:
        return (f"{path}: {text} ({os.strerror(reply.cause)})", f"as root: chmod 0755 {quoted}")
    repair = f"chown root:root {quoted} && chmod 0755 {quoted}"
    if not _is(path, stat.S_ISDIR):
        repair = f"mv {quoted} {quoted}.old && install -d -m 0755 {quoted}"
    return (
        f"{text}: {_describe(path)}; must be a directory of root's that no other can write",
        "as root: " + repair,
    )


def _unsafe_component(path: str) -> str:
    """Return the first component that the helper could have meant."""
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        prefix = "/".join(parts[:end]) or "/"
        try:
            faults = trust.folder_faults(os.lstat(prefix))
        except OSError:
            return prefix
        if faults and faults != (trust.CLOSED,):
            return prefix
    return path


def _kernel(address: Address, error: int, reply: Reply | None) -> tuple[str, ...]:
    if error == errno.EADDRINUSE:
        from . import holders  # here: only where a port is busy

        uids = holders.users(address)
        by = " held by " + ", ".join(_user(uid) for uid in uids) if uids else " in use"
        proto = "u" if address.udp else "t"
        return (
            f"the port is{by}",
            f"to see the process, as root: ss -Hl{proto}np sport = :{address.port}",
        )
    if error == errno.EADDRNOTAVAIL:
        return ("this host has no such address", "its addresses: ip address")
    if error == errno.EACCES and reply is not None and diagnose.in_user_namespace():
        return diagnose.user_namespace()
    if error == errno.EACCES:  # of a helper that has its capability
        return (
            "the port is granted, and bind(2) is denied by something else: a security module, "
            "or a sandbox that this process is in (Landlock)",
            "as root: ausearch -m avc -c pybind-helper (SELinux), journalctl -k -g DENIED (AppArmor)",
        )
    if error == errno.EPERM:
        return (
            "bind(2) is forbidden to this process (Operation not permitted): by its unit "
            "(systemd: SocketBindDeny=) or by a seccomp filter",
            "to see the unit: systemctl status $$",
        )
    return (f"bind(2) failed: {os.strerror(error)}",)


def unusable_helper() -> list[str]:
    """Return the lines for a helper without its capability, no port being listed."""
    return [
        f"no privileged port can be served: {HELPER} cannot gain CAP_NET_BIND_SERVICE",
        *diagnose.lost_capability(),
    ]


def _is(path: str, test: object) -> bool:
    try:
        return bool(test(os.lstat(path).st_mode))  # type: ignore[operator]
    except OSError:
        return False


def _describe(path: str) -> str:
    """Return owner and mode of a file, as the reason for a refusal is read from them."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or 0)}"
    kind = "a symbolic link, " if stat.S_ISLNK(status.st_mode) else ""
    return (
        f"{path} is {kind}owner {status.st_uid}, group {status.st_gid}, "
        f"mode {status.st_mode & 0o7777:04o}"
    )


def _user(uid: int) -> str:
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"
