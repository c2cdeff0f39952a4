# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs in the kernel: loads and attaches them, puts tables in force, keeps the lease.

The programs grant nothing before the first table and after the end of the lease. When a
call to the kernel fails, the lease ends at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable

from .. import diagnose
from . import layout
from .bpf import ARRAY, HASH, INNER_MAP, Libbpf, map_memory
from .table import Table, empty

LEASE_NS = 5 * 10**9
PROGRAMS = ("post_bind4", "post_bind6", "bind4", "bind6")  # those that confirm come first
_HELD_MAX = 1 << 20
_INDEX = ctypes.c_uint32


class Program:
    """The programs, loaded. Every method raises BpfError."""

    def __init__(self, libbpf: Libbpf, path: str) -> None:
        self._libbpf = libbpf
        self._handle = libbpf.open_and_load(path)
        self._names = libbpf.map_fd(self._handle, "names")
        self._details = libbpf.map_fd(self._handle, "details")
        control = libbpf.map_fd(self._handle, "control")
        self._control = map_memory(control, layout.CONTROL_SIZE)
        # For each attached program its link, and what attached_to() said of it at first.
        self._links: dict[str, tuple[int, tuple[bytes, ...]]] = {}
        # The details in each slot; None if unknown, or too many to keep.
        self._held: list[bytes | None] = [None] * layout.SLOTS
        self._slot = 0
        self._ports = [0] * layout.SLOTS
        self._number = 0  # of the newest table
        self._settled = True  # no program still reads the slot that is not in force
        for slot in range(layout.SLOTS):
            self._fill(slot, empty())

    def identify(self, netns_cookie: int, userns_inum: int) -> None:
        """Tell the programs which network and user namespace this process is in."""
        ctypes.c_uint64.from_buffer(self._control, layout.NETNS_COOKIE).value = netns_cookie
        ctypes.c_uint32.from_buffer(self._control, layout.USERNS_INUM).value = userns_inum

    def attach(self, cgroup_fd: int, names: Iterable[str] = PROGRAMS) -> None:
        """Attach programs to a control group (cgroup_fd: borrowed), until this process ends.

        names: those that lost() named. The others stay attached, because they may have a
        bind to confirm. If this raises OSError, nothing is attached.
        """
        self.end_lease()
        try:
            for name in names:
                self._detach(name)
                link = self._libbpf.attach(self._handle, name, cgroup_fd)
                self._links[name] = (link, ())
                self._links[name] = (link, self._libbpf.attached_to(link))
        except OSError:
            self.detach()
            raise

    def lost(self) -> list[str]:
        """Return the programs that are not attached as attach() left them. Raises OSError."""
        return [
            name
            for name in PROGRAMS
            if name not in self._links
            or self._libbpf.attached_to(self._links[name][0]) != self._links[name][1]
        ]

    def detach(self) -> None:
        """End the lease, and detach the programs; first those that grant."""
        self.end_lease()
        for name in reversed(PROGRAMS):
            self._detach(name)

    def _detach(self, name: str) -> None:
        if name in self._links:
            link, _ = self._links.pop(name)
            with contextlib.suppress(OSError):  # the others have to go all the same
                self._libbpf.detach(link)

    def read_records(self, on_record: Callable[[bytes], None]) -> tuple[int, Callable[[], None]]:
        """Return a descriptor to wait for (borrowed), and a function that reads the records.

        The function passes each waiting record to on_record.
        """
        ring = self._libbpf.ring(self._libbpf.map_fd(self._handle, "records"), on_record)
        return self._libbpf.ring_fd(ring), lambda: self._libbpf.consume(ring)

    def renew_lease(self, since_ns: int) -> None:
        """Extend the lease to five seconds after since_ns (CLOCK_MONOTONIC).

        since_ns: when the caller began to look for changes. Not the present time: the
        process may have been stopped since then, and changes may have come.
        """
        until = since_ns + LEASE_NS
        ctypes.c_uint64.from_buffer(self._control, layout.LEASE_UNTIL_NS).value = until

    def look_at_ports(self) -> None:
        """Read again which ports are privileged, so that refusals of all of them are logged."""
        self._set_ports(self._slot)

    def _set_ports(self, slot: int) -> None:
        with open(diagnose.FIRST_UNPRIVILEGED) as file:
            ports = max(self._ports[slot], int(file.read()))
        _INDEX.from_buffer(self._control, layout.PORTS + 4 * slot).value = ports

    def end_lease(self) -> None:
        """End the lease: from the next bind on, nothing is granted."""
        ctypes.c_uint64.from_buffer(self._control, layout.LEASE_UNTIL_NS).value = 0

    def put_in_force(self, table: Table) -> None:
        """Replace the table. Each bind sees the old table or the new one, never a mixture.

        Raises BpfError: then the lease has ended, and the caller has to try again.
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
        """Wait for the binds that still use the old slot, so that it can be filled again.

        A store into a map of maps waits for them. This one goes to an extra entry of
        `names` that no program reads.
        """
        if not self._settled:
            fd = self._filled(HASH, b"", b"", layout.NAME.size, layout.FILE.size)
            self._install(self._names, layout.SLOTS, fd)
            self._settled = True

    def _fill(self, slot: int, table: Table) -> None:
        """Fill a slot that no program reads."""
        # Plain stores, which a processor may see late. _install() waits for every processor,
        # so all see them before the number of the slot changes.
        _INDEX.from_buffer(self._control, layout.FOLDERS + 4 * slot).value = table.folders
        _INDEX.from_buffer(self._control, layout.LEFT_ALL + 4 * slot).value = bool(table.left_all)
        self._number += 1
        _INDEX.from_buffer(self._control, layout.NUMBERS + 4 * slot).value = self._number
        self._ports[slot] = table.ports
        self._set_ports(slot)
        names_fd = self._filled(HASH, table.keys, table.values, layout.NAME.size, layout.FILE.size)
        self._install(self._names, slot, names_fd)
        if self._held[slot] != table.details:  # each store takes some milliseconds
            count = len(table.details) // layout.LINE.size
            indices = bytes((_INDEX * count)(*range(count)))
            details_fd = self._filled(ARRAY, indices, table.details, 4, layout.LINE.size)
            self._held[slot] = None
            self._install(self._details, slot, details_fd)
        self._held[slot] = table.details if len(table.details) <= _HELD_MAX else None

    def _install(self, outer: int, slot: int, fd: int) -> None:
        """Store a map in a map of maps, and close fd: the outer map keeps the inner one."""
        try:
            self._libbpf.update(outer, slot, fd)
        finally:
            os.close(fd)

    def _filled(self, kind: int, keys: bytes, values: bytes, key: int, value: int) -> int:
        """Return the descriptor (owned by the caller) of a new map, filled and frozen."""
        count = len(keys) // key
        flags = INNER_MAP if kind == ARRAY else 0
        fd = self._libbpf.create_map(kind, key, value, max(count, 1), flags)
        try:
            if count:
                self._libbpf.fill(fd, keys, values, count)
            self._libbpf.freeze(fd)
        except OSError:
            os.close(fd)
            raise
        return fd
