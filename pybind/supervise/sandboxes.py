# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes of the tree may be in a Landlock domain (landlock(7)).

Such a process is not served: its domain may forbid it to bind, and the helper is
outside of the domain. The kernel does not tell who is in a domain. A process's
ancestors do not tell it either, because CLONE_PARENT and subreapers hide them. So after
the first landlock_restrict_self(2) of the tree, only those processes are served that
are older than that call and did not restrict themselves.
"""

from __future__ import annotations

import time

from .kernel import process_of

_TICKS_PER_S = 100  # USER_HZ, in which proc(5) counts


class Sandboxes:
    """The calls of landlock_restrict_self(2) in one tree."""

    def __init__(self) -> None:
        self._first: float | None = None  # time of the first call, in ticks since boot
        self._inside: set[int] = set()  # the processes that made a call

    def enter(self, tid: int) -> None:
        """Note that a thread restricts itself; its call still waits.

        Raises OSError if its process cannot be found.
        """
        pid = process_of(tid)
        if self._first is None:
            self._first = time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S
        self._inside.add(pid)

    def distrust_all(self) -> None:
        """Note that an unknown process restricts itself: then no process is served."""
        self._first = 0  # no process is older than the boot

    def may_hold(self, tid: int) -> bool:
        """Tell whether a thread's process may be in a domain; raises OSError if it died."""
        if self._first is None:
            return False
        pid = process_of(tid)
        return pid in self._inside or _started(pid) + 1 > self._first


def _started(pid: int) -> int:
    """Return when a process was started, in whole ticks since boot (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[19])
