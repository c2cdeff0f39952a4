# SPDX-License-Identifier: GPL-3.0-or-later
"""The few functions of libbpf and libc that pybindd needs, by ctypes (leaf).

Every failure is a BpfError with the errno. Descriptors that libbpf opens are
close-on-exec, and belong to the loaded object until the process ends.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable

LIBRARY = "libbpf.so.1"
_PR_SET_DUMPABLE = 4  # linux/prctl.h
_KEPT = 1 << 14  # bytes of each of the library's messages
HASH, ARRAY = 1, 2  # enum bpf_map_type, linux/bpf.h
INNER_MAP = 1 << 12  # BPF_F_INNER_MAP: arrays of different sizes in one array of maps
_ON_RECORD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_ON_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)

_PRINTERS: list[object] = []  # libbpf calls the last one until the process ends

_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_SIZE = ctypes.c_uint32
_SIGNATURES = {
    "bpf_object__open_file": (_POINTER, (_TEXT, _POINTER)),
    "bpf_object__load": (_INT, (_POINTER,)),
    "bpf_object__find_map_fd_by_name": (_INT, (_POINTER, _TEXT)),
    "bpf_object__find_program_by_name": (_POINTER, (_POINTER, _TEXT)),
    "bpf_program__attach_cgroup": (_POINTER, (_POINTER, _INT)),
    "bpf_link__fd": (_INT, (_POINTER,)),
    "bpf_link__detach": (_INT, (_POINTER,)),
    "bpf_link__destroy": (_INT, (_POINTER,)),
    "bpf_map_create": (_INT, (_INT, _TEXT, _SIZE, _SIZE, _SIZE, _POINTER)),
    "bpf_map_freeze": (_INT, (_INT,)),
    "bpf_map_update_elem": (_INT, (_INT, _POINTER, _POINTER, ctypes.c_uint64)),
    "bpf_map_update_batch": (_INT, (_INT, _POINTER, _POINTER, _POINTER, _POINTER)),
    "ring_buffer__new": (_POINTER, (_INT, _ON_RECORD, _POINTER, _POINTER)),
    "ring_buffer__epoll_fd": (_INT, (_POINTER,)),
    "ring_buffer__consume": (_INT, (_POINTER,)),
    "libbpf_set_print": (_POINTER, (_ON_PRINT,)),
}


class BpfError(OSError):
    """A call of libbpf failed. errno: its error. call: its name."""

    def __init__(self, error: int, call: str) -> None:
        super().__init__(error, f"{call}: {os.strerror(error)}")
        self.call = call


class _MapOptions(ctypes.Structure):
    """struct bpf_map_create_opts of libbpf 1.0. The library accepts a shorter one than its own."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    )


class Libbpf:
    """The library; keeps its last messages. Raises OSError if it is not installed."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY, use_errno=True)
        self._libc = ctypes.CDLL(None, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self.messages: list[str] = []
        _PRINTERS.append(_ON_PRINT(self._keep))
        self._library.libbpf_set_print(_PRINTERS[-1])
        self._callbacks: list[object] = []  # ctypes frees a callback without a reference

    def _keep(self, _level: int, form: bytes, arguments: int) -> int:
        text = ctypes.c_char_p()
        if self._libc.vasprintf(ctypes.byref(text), form, ctypes.c_void_p(arguments)) >= 0:
            # The verifier's log is megabytes in one text, and its reason is at the end.
            kept = (text.value or b"")[-_KEPT:].decode("utf-8", "replace").rstrip()
            self._libc.free(text)
            self.messages = [*self.messages[-50:], kept]
        return 0

    def open_and_load(self, path: str) -> int:
        """Load the programs of a file; return the object (struct bpf_object *)."""
        handle = self._pointer("bpf_object__open_file", path.encode(), None)
        self._number("bpf_object__load", handle)
        return handle

    def map_fd(self, handle: int, name: str) -> int:
        """Return the descriptor of a map (owned by the object)."""
        return self._number("bpf_object__find_map_fd_by_name", handle, name.encode())

    def attach(self, handle: int, program: str, cgroup_fd: int) -> int:
        """Attach a program to a control group; return the link, which this process owns.

        When the process ends, the kernel detaches the program.
        """
        pointer = self._pointer("bpf_object__find_program_by_name", handle, program.encode())
        return self._pointer("bpf_program__attach_cgroup", pointer, cgroup_fd)

    def detach(self, link: int) -> None:
        """Detach a program, by its link, also if another process holds that link."""
        try:
            self._number("bpf_link__detach", link)
        finally:
            self._number("bpf_link__destroy", link)

    def attached_to(self, link: int) -> tuple[bytes, ...]:
        """Return the lines of fdinfo (proc(5)) that name a link's program and control group.

        Another root process can change both. The id of the group is 0 once it has detached
        the link. Raises OSError.
        """
        with open(f"/proc/self/fdinfo/{self._number('bpf_link__fd', link)}", "rb") as file:
            return tuple(line for line in file if line.startswith((b"prog_id:", b"cgroup_id:")))

    def create_map(self, kind: int, key: int, value: int, size: int, flags: int = 0) -> int:
        """Return the descriptor of a new map (owned by the caller).

        kind: HASH or ARRAY. key, value: sizes in bytes. size: the number of entries.
        """
        options = _MapOptions(size=ctypes.sizeof(_MapOptions), map_flags=flags)
        return self._number(
            "bpf_map_create", kind, b"pybind_table", key, value, size, ctypes.byref(options)
        )

    def update(self, fd: int, key: int, value: int) -> None:
        """Store a number under a number; in a map of maps, the descriptor of a map.

        For a map of maps, the call returns only when every program that began before the
        store has ended (maybe_wait_bpf_programs() of the kernel).
        """
        key_box, value_box = ctypes.c_uint32(key), ctypes.c_uint32(value)
        self._number("bpf_map_update_elem", fd, ctypes.byref(key_box), ctypes.byref(value_box), 0)

    def fill(self, fd: int, keys: bytes, values: bytes, count: int) -> None:
        """Store `count` keys with their values. keys, values: packed one after the other."""
        done = ctypes.c_uint32(count)
        self._number("bpf_map_update_batch", fd, keys, values, ctypes.byref(done), None)
        if done.value != count:
            raise BpfError(errno.EIO, f"bpf_map_update_batch stored {done.value} of {count}")

    def freeze(self, fd: int) -> None:
        """Forbid every later change of a map by system calls."""
        self._number("bpf_map_freeze", fd)

    def ring(self, fd: int, on_record: Callable[[bytes], None]) -> int:
        """Return a reader of a ring buffer (fd: borrowed); consume() calls on_record."""

        def call(_context: int, data: int, size: int) -> int:
            on_record(ctypes.string_at(data, size))
            return 0

        callback = _ON_RECORD(call)
        self._callbacks.append(callback)
        return self._pointer("ring_buffer__new", fd, callback, None, None)

    def ring_fd(self, ring: int) -> int:
        """Return the reader's descriptor, readable when a program forces a wake-up."""
        return self._number("ring_buffer__epoll_fd", ring)

    def consume(self, ring: int) -> None:
        """Pass every waiting record to the reader's on_record."""
        self._number("ring_buffer__consume", ring)

    def _pointer(self, name: str, *arguments: object) -> int:
        ctypes.set_errno(0)
        result: int | None = getattr(self._library, name)(*arguments)
        if not result:
            raise BpfError(ctypes.get_errno() or errno.EINVAL, name)
        return result

    def _number(self, name: str, *arguments: object) -> int:
        result: int = getattr(self._library, name)(*arguments)
        if result < 0:
            raise BpfError(-result, name)
        return result


def forbid_core_dumps() -> None:
    """Forbid core dumps: during a dump the attached programs would go on (core(5)).

    RLIMIT_CORE is not enough: it does not count if core_pattern is a program.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise BpfError(ctypes.get_errno(), "PR_SET_DUMPABLE")


def map_memory(fd: int, size: int) -> mmap.mmap:
    """Return the memory of a BPF_F_MMAPABLE map, shared with the programs (fd: borrowed)."""
    page = mmap.PAGESIZE
    return mmap.mmap(fd, (size + page - 1) // page * page)
