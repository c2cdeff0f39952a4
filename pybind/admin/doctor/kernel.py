# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of `pybindctl doctor` that concern the kernel and this process.

One of them: whether the kernel itself judges by the permission files, or could (pybindd(8)).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from typing import Any

from ... import diagnose, pybindd
from ...errors import PybindError
from ...model import Address
from ...paths import PREFIX
from ...permissions.who import everyone, identity_for, identity_of
from ...supervise import preflight
from ..asking.ask import ask
from .installation import BROKEN, OK, WARNING, Finding, from_lines

_PYBINDD = "pybindd"  # the topic
_DAEMON = PREFIX + "/sbin/pybindd"
_PATIENCE_S = 20  # for a trial of pybindd
_SHOWN = 3  # of the files that pybindd leaves to the helper


def kernel() -> list[Finding]:
    """Look at the kernel: its version, seccomp, Yama, and which ports are privileged."""
    findings = [_version(), _seccomp(), _yama(), _looking(), _first_port()]
    return [finding for finding in findings if finding is not None]


def _version() -> Finding:
    release = os.uname().release
    match = re.match(r"(\d+)\.(\d+)", release)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < (5, 14):
        text = f"Linux {release}: pybind needs 5.14 (SO_NETNS_COOKIE); it refuses every bind"
        return Finding(BROKEN, "kernel", text, advice="install a newer kernel")
    if version < (5, 19):
        text = f"Linux {release}: the supervised mode (Go and static programs) needs 5.19"
        return Finding(WARNING, "kernel", text, advice="install a newer kernel")
    return Finding(OK, "kernel", f"Linux {release} (5.14 needed; 5.19 for the supervised mode)")


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _seccomp() -> Finding:
    actions = (_read("/proc/sys/kernel/seccomp/actions_avail") or "").split()
    if "user_notif" in actions:
        return Finding(OK, "seccomp", "the kernel has user notifications")
    text = "the kernel has no seccomp user notifications: no supervised mode here"
    return Finding(WARNING, "seccomp", text, advice="use a kernel with CONFIG_SECCOMP_FILTER")


def _yama() -> Finding:
    scope = _read("/proc/sys/kernel/yama/ptrace_scope")
    if scope is None:
        return Finding(OK, "yama", "not in this kernel: nothing restricts the supervised mode")
    if scope in ("0", "1"):
        return Finding(OK, "yama", f"ptrace_scope is {scope}")
    text = f"ptrace_scope is {scope}: the supervised mode cannot take a program's socket"
    if scope == "3":  # the kernel does not change it before the next boot
        advice = "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d, and start the host anew"
        return Finding(WARNING, "yama", text, advice=advice)
    return Finding(WARNING, "yama", text, ("sudo sysctl kernel.yama.ptrace_scope=1",))


def _looking() -> Finding:
    """Try on a child whether a supervisor could look into its program."""
    topic = "supervised mode"
    try:
        preflight.probe()
    except PybindError as error:
        return from_lines(WARNING, topic, error.lines)
    return Finding(OK, topic, "a process may look into its child and take its sockets")


def _first_port() -> Finding | None:
    topic, name = "privileged ports", "net.ipv4.ip_unprivileged_port_start"
    start = diagnose.first_unprivileged_port()
    if start == 0:
        text = f"{name} is 0: every user may bind every port, nothing needs a grant"
    elif start < 1024:
        text = f"{name} is {start}: every user may bind ports from {start} on without a grant"
    else:
        return Finding(OK, topic, f"{name} is {start}: ports below {start} need a grant")
    repair = f"sudo sysctl -w {name}=1024"
    return Finding(WARNING, topic, text, (repair,), "and in /etc/sysctl.d, to last")


def process() -> list[Finding]:
    """Look at the properties of this process that its programs inherit."""
    status = diagnose.own_status()
    findings = []
    if status.get("NoNewPrivs") == "1":
        text = "set here: no program started from this shell or unit can gain a capability"
        findings.append(Finding(BROKEN, "no_new_privs", text, advice="start pybind outside of it"))
    else:
        findings.append(Finding(OK, "no_new_privs", "not set here"))
    if int(status.get("CapBnd", "0"), 16) >> diagnose.CAP_NET_BIND_SERVICE & 1:
        findings.append(Finding(OK, "bounding set", "has CAP_NET_BIND_SERVICE"))
    else:
        text = "lacks CAP_NET_BIND_SERVICE here: the helper cannot gain it"
        advice = "docker: --cap-add NET_BIND_SERVICE; systemd: CapabilityBoundingSet="
        findings.append(Finding(BROKEN, "bounding set", text, advice=advice))
    if diagnose.foreign_network():
        text, *ways = diagnose.user_namespace()
        findings.append(Finding(BROKEN, "user namespace", text, advice="; ".join(ways)))
    else:
        findings.append(Finding(OK, "user namespace", "its capabilities count for this network"))
    if status.get("TracerPid", "0") != "0":
        text = f"process {status['TracerPid']} traces this one: nothing gains a capability"
        findings.append(Finding(BROKEN, "tracer", text, advice="run it without strace or gdb"))
    return findings


def proof() -> Finding:
    """Ask the helper as an ordinary user, and return whether it gains its capability."""
    topic = "proof"
    identity = identity_for(everyone()) if os.geteuid() == 0 else identity_of(None)
    nothing = Address(socket.AF_INET, bytes(4), 0, 0, False)  # port 0 is never granted
    try:
        reply = ask(identity, [nothing])[0]
    except PybindError as error:
        return from_lines(BROKEN, topic, error.lines)
    if not reply.capable:
        text = f"the helper, started by uid {identity.uid}, does not gain its capability"
        return from_lines(BROKEN, topic, (text, *diagnose.lost_capability()))
    return Finding(OK, topic, f"the helper, started by uid {identity.uid}, gains its capability")


def pybindd_finding() -> Finding:
    """Return the finding about pybindd, which is optional: it is no fault if none runs."""
    try:
        said = pybindd.status()
    except OSError as error:
        return Finding(WARNING, _PYBINDD, f"its status cannot be read: {error}")
    if said is None:
        return Finding(OK, _PYBINDD, f"does not run, so the helper judges every bind; {_trial()}")
    if not said["in_force"]:
        text = f"grants nothing: {said['why_not']}; the helper judges"
        return Finding(WARNING, _PYBINDD, text, ("sudo systemctl restart pybindd",))
    return Finding(OK, _PYBINDD, pybindd_sentence(said))


def pybindd_sentence(said: dict[str, Any]) -> str:
    """Return a sentence about a running pybindd. said: its status."""
    if said["refuses_all"] or said["left_all"]:
        verb = "refuses everything" if said["refuses_all"] else "leaves everything to the helper"
        return f"the kernel {verb}: {said['refuses_all'] or said['left_all']}"
    text = (
        f"the kernel judges by {_files(said['flag_files'], 'flag')} and "
        f"{_files(said['rule_files'], 'rule')} since {said['since'][:19].replace('T', ' ')}"
    )
    if not said["left_count"]:
        return text
    names = [f"{left['name']} ({left['why']})" for left in said["left"][:_SHOWN]]
    more = said["left_count"] - len(names)
    return f"{text}; left to the helper: {', '.join(names)}" + (f" and {more} more" if more else "")


def _trial() -> str:
    """Return a clause about whether pybindd could run; root tries it."""
    if os.geteuid() != 0 or not os.path.exists(_DAEMON):
        return "it is optional (pybindd(8))"
    try:
        done = subprocess.run(
            [_DAEMON, "--trial"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "and a trial of it did not end"
    if done.returncode == 0:
        return "it could run here: sudo systemctl enable --now pybindd"
    why = done.stderr.strip().split("\n")[0].removeprefix("pybindd: ")
    return f"and it cannot run here: {why}"


def _files(number: int, kind: str) -> str:
    return f"{number} {kind} file" + ("" if number == 1 else "s")
