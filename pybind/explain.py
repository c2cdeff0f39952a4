# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the helper's reply into words: what was refused, why, and the repair.

This module explains and never decides: every fact about the rules is the reply's. A
command stands at the end of its line, as a person types it: "...: sudo COMMAND".
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shlex

from . import _wire, diagnose, files, repairs
from ._lean import socket
from .binding import Verdict
from .model import MAPPED, Address, Reply, address_word
from .paths import CONFIG_DIR, HELPER, PYBINDCTL

_CONFIG_REASONS = (
    _wire.REASON_CONFIG_MISSING,
    _wire.REASON_CONFIG_UNSAFE,
    _wire.REASON_CONFIG_ERROR,
)
_FLAG_REASONS = (_wire.REASON_FLAG_DENIED, _wire.REASON_FLAG_KIND, _wire.REASON_FLAG_ERROR)


def address_text(address: Address) -> str:
    """Return `address` as users write it: 0.0.0.0:80/tcp, [::]:80/udp."""
    text = address_word(address.addr)
    if address.family == socket.AF_INET6:
        scope = f"%{address.scope_id}" if address.scope_id else ""
        text = f"[{text}{scope}]"
    return f"{text}:{address.port}/{'udp' if address.udp else 'tcp'}"


def spec(address: Address) -> str:
    """Return the SPEC of pybindctl that grants `address`: 80/tcp, 127.0.0.1:80/udp.

    For :: the SPEC has no address: a bind of :: needs a grant for 0.0.0.0 too. The
    permission files know no scope.
    """
    if not any(address.addr):
        return f"{address.port}/{'udp' if address.udp else 'tcp'}"
    if address.addr.startswith(MAPPED):
        inner = address._replace(family=socket.AF_INET, addr=address.addr[12:], scope_id=0)
        return address_text(inner)
    return address_text(address._replace(scope_id=0))


def granted_by(reply: Reply | None) -> str:
    """Return the file and line that granted, or that the kernel did. None: the kernel."""
    if reply is None:
        return "the kernel allows it without a grant"
    line = f" line {reply.line}" if reply.line else ""
    return f"{CONFIG_DIR}/{reply.name}{line}" if reply.name else "granted"


def refusals(verdicts: list[Verdict], *, by_hand: bool = False) -> list[str]:
    """Return the lines about addresses that are refused to the caller, or busy.

    One command grants all addresses that lack a grant. by_hand: add the commands that
    do the same without pybindctl.
    """
    ungranted = [verdict for verdict in verdicts if _lacks_grant(verdict)]
    lines = _ungranted(ungranted, os.getuid(), by_hand=by_hand)
    for verdict in verdicts:
        if verdict not in ungranted:
            lines += refusal(verdict)
    return lines


def refusal(verdict: Verdict, *, uid: int | None = None) -> list[str]:
    """Return the lines about one address that is refused, or busy.

    uid: the user that the helper was asked about; None for the caller.
    """
    address, reply = verdict.address, verdict.reply
    uid = os.getuid() if uid is None else uid
    if _lacks_grant(verdict):
        return _ungranted([verdict], uid, by_hand=False)
    if reply is None or reply.reason == _wire.REASON_KERNEL:
        return _kernel(address, verdict.error, uid)
    # In a user namespace root's files seem to belong to nobody, so the helper refuses
    # them even where the namespace owns its network.
    unmapped = reply.reason in _CONFIG_REASONS and diagnose.in_user_namespace()
    if unmapped or diagnose.foreign_network():
        head, *rest = diagnose.user_namespace()
        return [f"{_may_not(address, uid)}: {head}", *rest]
    if reply.reason == _wire.REASON_NO_CAPABILITY:
        head = f"{_port(address)} is granted to {user(uid)}, but cannot be bound: "
        return [head + "the helper has no CAP_NET_BIND_SERVICE", *diagnose.lost_capability()]
    if reply.reason == _wire.REASON_NETNS_UNKNOWN and reply.cause in diagnose.NO_UNIX_SOCKETS:
        head, *rest = diagnose.no_unix_sockets(reply.cause)
        return [f"{_may_not(address, uid)}: {head}", *rest]
    head, *rest = _by_rules(reply, uid)
    return [f"{_may_not(address, uid)}: {head}", *rest]


def _lacks_grant(verdict: Verdict) -> bool:
    """Tell whether the address is refused for lack of a grant, and a grant would help."""
    reply = verdict.reply
    return (
        reply is not None
        and reply.reason == _wire.REASON_NO_RULE
        and not diagnose.foreign_network()
    )


def _ungranted(verdicts: list[Verdict], uid: int, *, by_hand: bool) -> list[str]:
    if not verdicts:
        return []
    addresses = [verdict.address for verdict in verdicts]
    *ports, last = map(_port, addresses)
    text, it = last, "it"
    if ports:
        rest = [port.removeprefix("port ") for port in (*ports[1:], last)]
        text, it = f"{', '.join((ports[0], *rest[:-1]))} and {rest[-1]}", "them"
    head = f"{user(uid)} may not bind {text}: nothing in {CONFIG_DIR} grants {it}"
    if not ports:
        head += _half(verdicts[0].reply)
    lines = [head, "ask an administrator for: sudo " + command_to_grant(addresses, uid=uid)]
    installed = os.access(PYBINDCTL, os.X_OK)
    if by_hand or not installed:
        told = "or, without pybindctl" if installed else "by hand"
        if not installed:
            lines.pop()
        lines += [f"{told}: sudo {command_by_hand(address, uid=uid)}" for address in addresses]
    return lines


def command_to_grant(addresses: list[Address], *, uid: int | None = None) -> str:
    """Return the command (after sudo) that grants these addresses to a user.

    uid: None for the caller.
    """
    uid = os.getuid() if uid is None else uid
    specs = dict.fromkeys(shlex.quote(spec(address)) for address in addresses)
    return f"pybindctl grant {shlex.quote(repairs.account(uid))} {' '.join(specs)}"


def command_by_hand(address: Address, *, uid: int | None = None) -> str:
    """Return the shell command (after sudo) that adds the rule for an address and a user.

    uid: None for the caller.
    """
    uid = os.getuid() if uid is None else uid
    reserved = "!" if 512 <= address.port <= 1023 else ""
    where, _, port = spec(address).rpartition(":")
    rule = f"{where.strip('[]') or 'any'},{port}"
    file = f"{CONFIG_DIR}/byuser/{reserved}{uid}"
    try:
        with open(file, "rb") as open_file:
            ended = open_file.read()[-1:] in (b"", b"\n")
    except FileNotFoundError:
        ended = True
    except OSError:
        ended = False
    # The last line of the file may have no newline: the rule needs its own line.
    text = f"echo {rule}" if ended else f'printf "\\n{rule}\\n"'
    return f"sh -c 'umask 022; {text} >>{file}'"


def commands(lines: list[str]) -> list[str]:
    """Return the commands in these lines, without sudo."""
    matches = (re.search(r": sudo (.*)", line) for line in lines)
    return [match[1] for match in matches if match]


def _by_rules(reply: Reply, uid: int) -> tuple[str, ...]:
    """Return lines about a refusal by the permission files: file, reason, repair."""
    half = _half(reply)
    reason, path = reply.reason, f"{CONFIG_DIR}/{reply.name}"
    text = _wire.REASON_TEXTS.get(reason, f"reason {reason}")
    if reason in _CONFIG_REASONS:
        return files.folder(reply, uid)
    if reason in _FLAG_REASONS:
        return (f"{path}: {text}{half}", *files.flag(path, reply, uid))
    if reply.name:
        line = f" line {reply.line}" if reply.line else ""
        return (f"{path}{line}: {text}{half}", *files.rule_file(path, reply, uid))
    cause = f" ({os.strerror(reply.cause)})" if reply.cause else ""
    return (text + cause,)


def _half(reply: Reply | None) -> str:
    if reply is None or not reply.v4_half:
        return ""
    return " (for its other half, 0.0.0.0: who binds :: takes the IPv4 port too)"


def _kernel(address: Address, error: int, uid: int) -> list[str]:
    port = _port(address)
    if error == errno.EADDRINUSE:
        return _busy(address)
    if error == errno.EADDRNOTAVAIL:
        return [f"cannot bind {port}: this host has no such address", "its addresses: ip address"]
    if error == errno.EACCES and diagnose.foreign_network():
        head, *rest = diagnose.user_namespace()
        return [f"{_may_not(address, uid)}: {head}", *rest]
    if error == errno.EACCES:  # although the helper has its capability
        return [
            f"{port} is granted to {user(uid)}, and bind(2) is denied: by a security module, or "
            "by a sandbox that this process is in (Landlock)",
            "SELinux: sudo ausearch -m avc -c pybind-helper",
            "AppArmor: sudo journalctl -k -g DENIED",
        ]
    if error == errno.EPERM:
        why = (
            "bind(2) is forbidden to this process (Operation not permitted): by its unit "
            "(systemd: SocketBindDeny=) or by a seccomp filter"
        )
        return [f"{_may_not(address, uid)}: {why}", "to see the unit: systemctl status $$"]
    return [f"cannot bind {port}: {os.strerror(error)}"]


def _busy(address: Address) -> list[str]:
    """Return who holds a port; where that are the caller's own processes, these, and how to end them."""
    from . import holders  # only when a port is busy

    port, sockets = _port(address), holders.sockets(address)
    uids = sorted({sock.uid for sock in sockets})
    if uids == [os.getuid()]:
        by_inode = holders.processes(sock.inode for sock in sockets)
        own = dict.fromkeys(process for each in by_inode.values() for process in each)
        if own:
            names = ", ".join(f"{repairs.printable(one.name)} ({one.pid})" for one in own)
            pids = " ".join(str(one.pid) for one in own)
            return [f"{port} is held by {user(uids[0])}: {names}", f"to close it: kill {pids}"]
    by = "held by " + ", ".join(map(user, uids)) if uids else "in use"
    proto = "u" if address.udp else "t"
    return [f"{port} is {by}", f"to see by what: sudo ss -Hl{proto}np sport = :{address.port}"]


def unusable_helper() -> list[str]:
    """Return the lines about a helper without its capability, when no port is listed."""
    return [
        f"no privileged port can be served: {HELPER} cannot gain CAP_NET_BIND_SERVICE",
        *diagnose.lost_capability(),
    ]


def _may_not(address: Address, uid: int) -> str:
    return f"{user(uid)} may not bind {_port(address)}"


def _port(address: Address) -> str:
    """Return an address for a sentence: "port 80/tcp" for 0.0.0.0, else 127.0.0.1:80/tcp."""
    if address.family == socket.AF_INET and not any(address.addr):
        return f"port {spec(address)}"
    return address_text(address)


def user(uid: int) -> str:
    """Return a user for a sentence: alice (uid 1000), or uid 1000."""
    name = _name(uid)
    return f"{name} (uid {uid})" if name else f"uid {uid}"


def _name(uid: int) -> str:
    """Return the account's name; "" without an account, or if the name is not printable."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
    return name if name.isprintable() else ""
