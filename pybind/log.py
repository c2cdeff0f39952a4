# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes starts and refusals in syslog, facility auth (leaf).

A convenience for administrators, no audit trail: it is written by the user's
side. Nothing depends on it, and a system without syslog is fine.
"""

from __future__ import annotations

import syslog

from ._lean import fsdecode, posix

_LINE_MAX = 900  # RFC 3164 allows 1024 with its header


def start(program: bytes, listed: list[str], way: str) -> None:
    """Note that a program is about to be started; listed: as typed."""
    ports = " ".join(listed) if listed else "all that the files grant"
    _write(syslog.LOG_INFO, f"starts {fsdecode(program)}, {way}; ports: {ports}")


def refused(reason: str) -> None:
    """Note a refusal, with the first line of its message."""
    _write(syslog.LOG_NOTICE, f"not started: {reason}")


def _write(priority: int, text: str) -> None:
    # Whatever the user named must stay one line, and printable.
    line = "".join(c if c.isprintable() else "?" for c in text)[:_LINE_MAX]
    syslog.openlog("pybind", syslog.LOG_PID, syslog.LOG_AUTH)
    try:
        syslog.syslog(priority, f"uid {posix.getuid()} {line}")
    finally:
        syslog.closelog()  # the program must not inherit what it does not expect
