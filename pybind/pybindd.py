# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a running pybindd for its status, and waits until a change is in force.

There are two ways to ask, both in /run, where only root can create files:

- PYBINDD_STATUS, a JSON file that everybody can read. pybindd writes the file with
  each new table, and removes it at its end. After a kill the file stays: a reader has
  to check that the process in `pid` and `started` still runs.
- PYBINDD_SOCKET, a stream socket that only root can connect to. The client sends one
  line, `sync` or `status`. The answer is one JSON object, then end of file.

The fields of both answers:

    pid, started       the process, and its start time in clock ticks (proc(5), field 22)
    version            of pybind
    since              when it began to serve, ISO 8601 with offset
    cgroup             the control group that it is attached to
    netns_cookie       of the network namespace whose sockets it serves (SO_NETNS_COOKIE)
    in_force           true while the kernel judges by a table that is up to date
    why_not            null, or why in_force is false: then the kernel grants nothing
    refuses_all        null, or why the files refuse everything (a folder that is not root's)
    left_all           null, or why pybind-helper decides every bind
    table              the number of tables so far; grows with each change
    changed            when the table in force was put in force, ISO 8601
    flag_files, rule_files, lines    how many of them the table holds
    left               [{"name": "byport/80", "why": "has 2 hard links"}, ...]: at most 100
                       files that the table does not judge; the helper does
    left_count         how many such files there are
    unlogged           records that the log's limits dropped

pybindd answers `sync` when every file that was written before it is in force. If pybindd
cannot put the files in force, the answer has in_force false and why_not.

pybindd logs to syslog (facility authpriv, tag pybindd), one line for each grant and
refusal:

    granted uid=1000 tcp 0.0.0.0:80 by=byport/80 pid=4711 comm="java"
    refused uid=1000 udp [::1]:53 by=byuser/1000 pid=4711 comm="named" why="..."

`by` is - when no file decided. A process in another user namespace than pybindd's has
`userns=other` behind its uid.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from . import mountinfo
from .paths import PYBINDD_SOCKET, PYBINDD_STATUS

PATIENCE_S = 10.0
BUSY = "files change without a pause"  # this why_not passes: ask again
SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h; Linux 5.14
_START_TIME = 19  # field 22 of /proc/PID/stat, as an index in the fields after the name


class NotAnswering(Exception):
    """pybindd runs but did not answer. args[0]: the socket and the error, for people."""


def status() -> dict[str, Any] | None:
    """Return the status of the running pybindd, or None when none runs.

    Needs no privilege. Raises OSError when the file cannot be read.
    """
    try:
        with open(PYBINDD_STATUS, "rb") as file:
            said: dict[str, Any] = json.load(file)
    except (FileNotFoundError, ValueError):
        return None
    return said if start_time(said.get("pid", 0)) == said.get("started") else None


def judges_this_process() -> bool:
    """Tell whether the kernel judges every bind of this process by all permission files.

    True only if pybindd has all files in force, leaves none to the helper, and serves
    the network namespace and the control group of this process. In doubt False.
    """
    try:
        said = status()
        if not said or not said["in_force"] or said["left_count"]:
            return False
        if said["left_all"] or said["refuses_all"] or said["netns_cookie"] != netns_cookie():
            return False
        return _is_below(said["cgroup"])
    except (OSError, KeyError):
        return False


def netns_cookie() -> int:
    """Return the kernel's number for the network namespace of this process. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as own:
        data = own.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    return int.from_bytes(data, sys.byteorder)


def serves_all(said: dict[str, Any]) -> bool:
    """Tell whether a pybindd serves every process: its control group is the topmost one."""
    try:
        return said["cgroup"] in _tops()
    except OSError:
        return False


def _tops() -> list[str]:
    """Return where the whole unified hierarchy is mounted. Raises OSError."""
    mounts = mountinfo.read()
    return [mount.path for mount in mounts if mount.kind == "cgroup2" and mount.root == "/"]


def _is_below(group: str) -> bool:
    """Tell whether this process is in the control group or below it. group: its folder."""
    with open("/proc/self/cgroup", "rb") as file:
        lines = map(os.fsdecode, file)
        own = next((line[3:].rstrip("\n") for line in lines if line.startswith("0::")), None)
    tops = _tops()
    if own is None or not tops:
        return False
    return f"{tops[0].rstrip('/')}{own}/".startswith(group.rstrip("/") + "/")


def start_time(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[_START_TIME])
    except (FileNotFoundError, ProcessLookupError):
        return None


def sync(patience_s: float = PATIENCE_S) -> dict[str, Any] | None:
    """Wait until the present permission files are in force; root only.

    Returns pybindd's answer, or None when no pybindd runs. The caller has to check
    in_force of the answer. Raises NotAnswering.
    """
    return _ask(b"sync\n", patience_s)


def _ask(line: bytes, patience_s: float) -> dict[str, Any] | None:
    chunks = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(patience_s)
        try:
            connection.connect(PYBINDD_SOCKET)
            connection.sendall(line)
            while chunk := connection.recv(1 << 16):
                chunks.append(chunk)
            answer: dict[str, Any] = json.loads(b"".join(chunks))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise NotAnswering(f"{PYBINDD_SOCKET}: {reason}") from None
        except ValueError:
            raise NotAnswering(f"{PYBINDD_SOCKET}: the answer is no JSON") from None
    return answer
