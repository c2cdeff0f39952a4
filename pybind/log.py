# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes starts and refusals in syslog, facility auth (leaf).

This log helps administrators, but it is no audit trail: the user's own process writes
it. Nothing depends on the log, and pybind also runs without syslog.
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
    # The user chooses names in the text: they must not forge a second line.
    line = "".join(c if c.isprintable() else "?" for c in text)[:_LINE_MAX]
    syslog.openlog("pybind", syslog.LOG_PID, syslog.LOG_AUTH)
    try:
        syslog.syslog(priority, f"uid {posix.getuid()} {line}")
    finally:
        syslog.closelog()  # the program must not inherit the descriptor of the log
