# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper's decision about one user and port: in words, with commands, and as JSON."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import NamedTuple

from ... import _wire, binding, diagnose, explain
from ...errors import PybindError
from ...model import MAPPED, Address, Listed, Reply, Step, address_word
from ...paths import CONFIG_DIR
from ...permissions.access import Access, access_of, holds
from ...permissions.delegations import unmarked
from ...permissions.errors import AdminError
from ...permissions.folders import path_of
from ...permissions.names import Flag, parse_name
from ...permissions.spec import parse_spec, spec_text
from ...permissions.who import Identity, Who, everyone, group_of, user_of
from ...ports import parse_listed
from ...repairs import sudo
from . import in_kernel, verification
from .ask import ask


class Decision(NamedTuple):
    """What became of one address. reply: None where the kernel needs no grant for it.

    pybindd: what the kernel itself answers, where pybindd runs.
    """

    address: Address
    required: bool
    reply: Reply | None
    kernel: str  # why the kernel needs no grant, or ""
    pybindd: in_kernel.Answer | None = None

    @property
    def granted(self) -> bool:
        """Tell whether the user may bind it."""
        return self.reply is None or self.reply.reason == _wire.REASON_GRANTED

    @property
    def lacks_grant(self) -> bool:
        """Tell whether nothing is broken, and nothing grants it."""
        return self.reply is not None and self.reply.reason == _wire.REASON_NO_RULE


def parse_asked(spec: str, command: str) -> Listed:
    """Return the asked port as a Listed. command: for messages. Raises AdminError, UsageError."""
    rule = None
    with contextlib.suppress(PybindError):  # parse_listed() below raises the better message
        rule = parse_spec(spec)
    if rule and (rule.addr_min != rule.addr_max or rule.port_min != rule.port_max):
        one = rule._replace(addr_max=rule.addr_min, port_max=rule.port_min)
        raise AdminError(
            f"bad port {spec!r}: {command} asks about one address and one port",
            f"such as: pybindctl {command} {spec_text(one)}",
            "all that is granted: pybindctl list",
        )
    return parse_listed(spec)


def decide(listed: Listed, who: Identity) -> list[Decision]:
    """Ask the kernel's settings, then the helper, then what pybindd says of that.

    The first decision is the required one.
    """
    addresses = binding.addresses(listed)
    kernel = _kernel_allows(listed.port, who)
    replies: list[Reply] | list[None] = [None] * len(addresses)
    if not kernel:
        replies = ask(who, addresses)
    said = in_kernel.status()
    return [
        Decision(address, index == 0, reply, kernel, in_kernel.answer_to(reply, said))
        for index, (address, reply) in enumerate(zip(addresses, replies))
    ]


def _kernel_allows(port: int, who: Identity) -> str:
    first = diagnose.first_unprivileged_port()
    if port >= first:
        return f"the kernel allows it without a grant: ports from {first} on are not privileged"
    if who.uid == os.getuid() and diagnose.binds_alone():
        return (
            "the kernel allows it without a grant: this caller has CAP_NET_BIND_SERVICE "
            "(about another user: --user USER)"
        )
    return ""


def port_text(address: Address, *, alike: bool) -> str:
    """Return an address for people. alike: 80/tcp stands for 0.0.0.0 and ::."""
    if alike and not any(address.addr):
        return f"{address.port}/{'udp' if address.udp else 'tcp'}"
    return explain.address_text(address)


def why(decision: Decision, who: Identity) -> str:
    """Return the reason as one line: "by FILE line N", or the reason of the refusal."""
    reply = decision.reply
    if reply is None:
        return decision.kernel
    if decision.granted:
        return f"by {explain.granted_by(reply)}"
    if decision.lacks_grant:
        half = ", for its other half 0.0.0.0" if reply.v4_half else ""
        return f"nothing in {CONFIG_DIR} grants it{half}"
    return _refusal(decision, who)[0].partition(": ")[2]


def _refusal(decision: Decision, who: Identity) -> list[str]:
    """Return the lines that pybind itself would print about a refusal to this user."""
    reply = decision.reply
    if reply is None or decision.granted:
        return []
    verdict = binding.Verdict(decision.address, reply.error, reply)
    return explain.refusal(verdict, uid=who.uid)


def facts(decision: Decision, who: Identity) -> list[str]:
    """Return further lines about the decision, without commands."""
    if decision.lacks_grant:
        return unmarked(decision.address, who.uid, (who.gid, *who.groups))
    return [line for line in _refusal(decision, who)[1:] if not _commands([line])]


def repairs(decision: Decision, who: Identity) -> list[str]:
    """Return the commands that change the answer: grant, repair, or revoke."""
    reply = decision.reply
    if reply is None:
        return []
    typed = user_of(who.uid).text
    if decision.granted:
        return _to_take_away(reply, decision.address, who)
    if decision.lacks_grant:
        return [sudo(("pybindctl", "grant", typed, _spec(decision)))]
    if reply.reason == _wire.REASON_NO_CAPABILITY:
        return _commands(_refusal(decision, who)[1:])
    refusing = verification.for_user(who).refusing
    matching = [trouble for trouble in refusing if trouble.name == reply.name] or refusing
    if matching:
        return [matching[0].repair] if matching[0].repair else []
    flag = _flag_of(reply.name)
    if reply.reason == _wire.REASON_FLAG_DENIED and flag:
        return [sudo(("pybindctl", "grant", typed, spec_text(flag.rule)))]
    return _commands(_refusal(decision, who)[1:])


def _flag_of(name: str) -> Flag | None:
    file = parse_name(*name.split("/")) if "/" in name else None
    return file if isinstance(file, Flag) else None


def _spec(decision: Decision) -> str:
    """Return the SPEC of exactly this port: 80/tcp, or with its address."""
    address, reply = decision.address, decision.reply
    if reply and reply.v4_half:
        address = Address(int(socket.AF_INET), bytes(4), 0, address.port, address.udp)
    elif not any(address.addr):
        return port_text(address, alike=True)
    if address.addr.startswith(MAPPED):
        address = Address(int(socket.AF_INET), address.addr[12:], 0, address.port, address.udp)
    return explain.address_text(address._replace(scope_id=0))  # the files ignore scopes


def _to_take_away(reply: Reply, address: Address, who: Identity) -> list[str]:
    flag = _flag_of(reply.name)
    if flag is None:
        whom = user_of(who.uid)
        if reply.name.startswith("bygroup/"):
            whom = group_of(int(reply.name.rpartition("/")[2].lstrip("!")))
        spec = port_text(address, alike=True)
        if any(address.addr):
            spec = _spec(Decision(address, True, None, ""))
        return [sudo(("pybindctl", "revoke", whom.text, spec))]
    access = access_of(path_of(flag.name))
    commands: list[tuple[str, ...]] = []
    if access.uid == who.uid != 0:  # the owner could make it executable again
        commands.append(("chown", "root", path_of(flag.name)))
    spec = spec_text(flag.rule)
    commands += [("pybindctl", "revoke", whom.text, spec) for whom in _holders(access, who)]
    return [sudo(*commands)]


def _holders(access: Access, who: Identity) -> list[Who]:
    """Return the user, groups and everyone whose entries in a flag file let this user in."""
    own = user_of(who.uid)
    whos = [own] if access.uid != who.uid else []
    whos += [*map(group_of, (who.gid, *who.groups)), everyone()]
    return [whom for whom in whos if holds(access, whom)]


def _commands(lines: list[str]) -> list[str]:
    """Return the commands in these lines, with sudo."""
    return ["sudo " + command for command in explain.commands(lines)]


def as_object(spec: str, who: Identity, decisions: list[Decision]) -> dict[str, object]:
    """Return the answer of check and explain for --json."""
    return {
        "spec": spec,
        "user": {"uid": who.uid, "name": who.name, "gid": who.gid, "groups": list(who.groups)},
        "granted": decisions[0].granted,
        "addresses": [_address_object(decision, who) for decision in decisions],
    }


def _address_object(decision: Decision, who: Identity) -> dict[str, object]:
    address, reply, judged = decision.address, decision.reply, decision.pybindd
    commands = repairs(decision, who)
    return {
        "address": address_word(address.addr),
        "port": address.port,
        "protocol": "udp" if address.udp else "tcp",
        "required": decision.required,
        "granted": decision.granted,
        "by": "kernel" if reply is None else "rules",
        "file": f"{CONFIG_DIR}/{reply.name}" if reply and reply.name else None,
        "line": reply.line if reply and reply.line else None,
        "reason": _wire.REASON_TEXTS.get(reply.reason) if reply else decision.kernel,
        "for_ipv4_half": bool(reply and reply.v4_half),
        "explanation": [why(decision, who), *facts(decision, who), *commands],
        "commands": commands,
        "steps": [_step(step) for step in reply.steps] if reply else [],
        "pybindd": {"answer": judged.answer, "why": judged.why or None} if judged else None,
    }


def _step(step: Step) -> dict[str, object]:
    return {
        "file": f"{CONFIG_DIR}/{step.name}",
        "result": _wire.STEP_TEXTS.get(step.result, str(step.result)),
        "line": step.line or None,
        "for_ipv4_half": step.v4_half,
    }
