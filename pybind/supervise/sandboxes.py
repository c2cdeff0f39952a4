# SPDX-License-Identifier: GPL-3.0-or-later
"""Who of the tree may be in a Landlock domain (landlock(7)): they are not bound for.

The helper stands outside of the domain, and the kernel tells nobody who is
inside of one, nor whether it forbids to bind. Ancestors are no proof either:
CLONE_PARENT and subreapers hide them. So from the first landlock_restrict_self(2)
on, only a process that is older than that call, and made none, is served.
"""

from __future__ import annotations

import time

from .kernel import process_of

_TICKS_PER_S = 100  # USER_HZ, in which proc(5) counts


class Sandboxes:
    """What was seen of landlock_restrict_self(2) in one tree."""

    def __init__(self) -> None:
        self._first: float | None = None  # in ticks since boot
        self._inside: set[int] = set()  # process ids of those that are older

    def enter(self, tid: int) -> None:
        """Note that a thread, which waits for its call to go on, restricts itself.

        Raises OSError where its process cannot be told.
        """
        pid = process_of(tid)
        if self._first is None:
            self._first = time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S
        self._inside.add(pid)

    def distrust_all(self) -> None:
        """Note that somebody restricts itself of whom nothing is known."""
        self._first = 0  # nobody is older than that

    def may_hold(self, tid: int) -> bool:
        """Tell whether a thread's process may be in a domain; raises OSError for one that died."""
        if self._first is None:
            return False
        pid = process_of(tid)
        return pid in self._inside or _started(pid) + 1 > self._first


def _started(pid: int) -> int:
    """Return when a process was started, in whole ticks since boot (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[19])
