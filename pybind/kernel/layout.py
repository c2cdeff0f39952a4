# SPDX-License-Identifier: GPL-3.0-or-later
"""The structs of helpers/kernel/table.h, as Python packs them (leaf).

All integers are in host byte order. tests/kernel/test_kernel_table.py compares both
sides, by the debugging information of the object file.
"""

from __future__ import annotations

import struct

SLOTS = 2
BYPORT, BYADDR, BYUSER, BYGROUP = range(4)
FOLDER_NUMBERS = {"byport": BYPORT, "byaddr": BYADDR, "byuser": BYUSER, "bygroup": BYGROUP}
PROTOCOLS = {None: 0, "tcp": 1, "udp": 2}
JUDGED, REFUSES, LEFT = range(3)
READABLE, EXECUTABLE = 4, 1
GRANTED, REFUSED, REFUSED_LEFT, REFUSED_IDS, REFUSED_CHANGED, REFUSED_LATE = range(6)

NAME = struct.Struct("=QQIBBBB")
"""addr_high, addr_low, number, folder, family (4, 6 or 0), protocol, reserved"""

FILE = struct.Struct("=IIIBBBBBBHII")
"""ident, uid, gid, state, owner, group, others, unanimous, users, entry_count, start, line_count"""

ENTRY = struct.Struct("=IBB34x")
"""ident, is_group, permissions; padded to the size of LINE"""

LINE = struct.Struct("=QQQQHHBBxx")
"""min_high, min_low, max_high, max_low, port_min, port_max, family (4, 6 or 0), protocol"""

RECORD = struct.Struct("=QQQIIIHBBBB6x16s")
"""addr_high, addr_low, lost, uid, tgid, file, port, family, udp, event, foreign, comm"""

CONTROL_SIZE = 56
# The offset of each member of struct control, in bytes.
LEASE_UNTIL_NS, NETNS_COOKIE, USERNS_INUM, SLOT = 0, 8, 16, 20
FOLDERS, LEFT_ALL, PORTS, NUMBERS = 24, 32, 40, 48


def halves(addr: bytes) -> tuple[int, int]:
    """Return an address of 4 or 16 bytes, in network byte order, as (high, low)."""
    value = int.from_bytes(addr, "big")
    return value >> 64, value & (1 << 64) - 1
