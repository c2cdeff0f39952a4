# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs in the kernel: load, attach, put a table in force, the lease.

Nothing is granted before the first table, after the lease, or while a call to
the kernel has failed: then the lease is taken back at once.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from . import layout
from .bpf import ARRAY, HASH, INNER_MAP, Libbpf, map_memory
from .table import Table, empty

LEASE_NS = 5 * 10**9
PROGRAMS = ("post_bind4", "post_bind6", "bind4", "bind6")  # in this order: first who confirms
_INDEX = ctypes.c_uint32


class Program:
    """The loaded object. Raises BpfError everywhere."""

    def __init__(self, libbpf: Libbpf, path: str) -> None:
        self._libbpf = libbpf
        self._handle = libbpf.open_and_load(path)
        self._names = libbpf.map_fd(self._handle, "names")
        self._details = libbpf.map_fd(self._handle, "details")
        control = libbpf.map_fd(self._handle, "control")
        self._control = map_memory(control, layout.CONTROL_SIZE)
        self._links: list[int] = []
        self._inner: list[tuple[int, int]] = []  # of each slot: names, details
        self._slot = 0
        self._settled = True  # no program reads the slot that is not in use
        for slot in range(layout.SLOTS):
            self._fill(slot, empty())

    def identify(self, netns_cookie: int, userns_inum: int) -> None:
        """Say which network and user namespace are ours."""
        ctypes.c_uint64.from_buffer(self._control, layout.NETNS_COOKIE).value = netns_cookie
        ctypes.c_uint32.from_buffer(self._control, layout.USERNS_INUM).value = userns_inum

    def attach(self, cgroup_fd: int) -> None:
        """Attach all programs to a control group; the links end with this process."""
        for name in PROGRAMS:
            self._links.append(self._libbpf.attach(self._handle, name, cgroup_fd))

    def detach(self) -> None:
        """Grant nothing from now on, and take the programs away."""
        self.end_lease()
        while self._links:
            self._libbpf.detach(self._links.pop())

    def read_records(self, on_record: Callable[[bytes], None]) -> tuple[int, Callable[[], None]]:
        """Return a descriptor to wait on, and what hands every waiting record to on_record."""
        ring = self._libbpf.ring(self._libbpf.map_fd(self._handle, "records"), on_record)
        return self._libbpf.ring_fd(ring), lambda: self._libbpf.consume(ring)

    def renew_lease(self, since_ns: int) -> None:
        """Let the table in force count for five seconds from since_ns (CLOCK_MONOTONIC).

        That is when the caller began to look for changes, not now: it may have
        been stopped since.
        """
        until = since_ns + LEASE_NS
        ctypes.c_uint64.from_buffer(self._control, layout.LEASE_UNTIL_NS).value = until

    def end_lease(self) -> None:
        """Grant nothing from the next bind on."""
        ctypes.c_uint64.from_buffer(self._control, layout.LEASE_UNTIL_NS).value = 0

    def put_in_force(self, table: Table) -> None:
        """Replace the table that counts. Whole: each bind sees the old one or the new one.

        Raises BpfError; then the lease has ended, and this has to be tried again.
        """
        try:
            self._settle()
            new = 1 - self._slot
            self._fill(new, table)
            self._settled = False
            _INDEX.from_buffer(self._control, layout.SLOT).value = new
            self._slot = new
            self._settle()
        except OSError:
            self.end_lease()
            raise

    def _settle(self) -> None:
        """Wait for the binds that have read the number of the old slot.

        Only then may that slot be filled again. Storing in a map of maps waits for
        them, and what is stored is there already.
        """
        if not self._settled:
            self._libbpf.update(self._names, self._slot, self._inner[self._slot][0])
            self._settled = True

    def _fill(self, slot: int, table: Table) -> None:
        count, details = table.size, len(table.details) // layout.LINE.size
        # Of the slot that is not in use, and long before its number is stored: the
        # calls below wait for every processor.
        _INDEX.from_buffer(self._control, layout.FOLDERS + 4 * slot).value = table.folders
        _INDEX.from_buffer(self._control, layout.LEFT_ALL + 4 * slot).value = bool(table.left_all)
        names_fd = details_fd = -1
        try:
            names_fd = self._libbpf.create_map(
                HASH, layout.NAME.size, layout.FILE.size, max(count, 1)
            )
            if count:
                self._libbpf.fill(names_fd, table.keys, table.values, count)
            self._libbpf.freeze(names_fd)
            details_fd = self._libbpf.create_map(
                ARRAY, ctypes.sizeof(_INDEX), layout.LINE.size, max(details, 1), INNER_MAP
            )
            if details:
                indices = bytes((_INDEX * details)(*range(details)))
                self._libbpf.fill(details_fd, indices, table.details, details)
            self._libbpf.freeze(details_fd)
            self._libbpf.update(self._names, slot, names_fd)
            self._libbpf.update(self._details, slot, details_fd)
        except OSError:
            for fd in (names_fd, details_fd):
                if fd >= 0:
                    os.close(fd)
            raise
        old = self._inner[slot] if slot < len(self._inner) else ()
        self._inner[slot : slot + 1] = [(names_fd, details_fd)]
        for fd in old:
            os.close(fd)
