# SPDX-License-Identifier: GPL-3.0-or-later
"""Binds addresses of each length that end at the end of a page; prints the errnos."""

import ctypes
import mmap
import socket
import struct

PAGE = mmap.PAGESIZE
PROT, FLAGS = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.bind.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]

area = libc.mmap(None, 2 * PAGE, PROT, FLAGS, -1, 0)
libc.munmap(area + PAGE, PAGE)
IN = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", 80, bytes([127, 90, 0, 1]))
IN6 = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16s", 80, 0, b"\0" * 15 + b"\1")
for family, address in ((socket.AF_INET, IN), (socket.AF_INET6, IN6 + b"\0" * 4), (10, IN6)):
    for length in (0, 2, 15, 16, 24, 27, 28, 29, 64, 128, 129, 2**31, 2**32 - 1):
        for at in (area + PAGE - len(address), area + PAGE - 2, area + PAGE, 0):
            ctypes.memmove(at, address, min(len(address), area + PAGE - at)) if at else None
            with socket.socket(family) as sock:
                done = libc.bind(sock.fileno(), at, length)
                print(family, length, at - area if at else 0, done and ctypes.get_errno())
