# SPDX-License-Identifier: GPL-3.0-or-later
"""The C halves of slow standard modules, for the code that runs at each start (leaf).

Bare Python starts in 5.3 ms on the machine of bench/results. On top of that, os
takes 1.4 ms, socket 5.7 ms and typing 8.0 ms: they import abstract classes,
enumerations and regular expressions. The C halves take 0.2 ms together. They have
the same functions and constants, with these differences: constants are plain
integers, and a socket has no `with`. posix, the half of os, has no os.path, no
fsencode and no fsdecode. A type checker sees the whole socket, signal, stat and struct.
"""

from __future__ import annotations

import sys

__all__ = [
    "TYPE_CHECKING",
    "NamedTuple",
    "add_site_packages",
    "exists",
    "fsdecode",
    "fsencode",
    "posix",
    "signal",
    "socket",
    "stat",
    "struct",
]

TYPE_CHECKING = False

if TYPE_CHECKING:
    import posix
    import signal
    import socket
    import stat
    import struct
    from typing import NamedTuple
else:
    import _signal as signal
    import _socket as socket
    import _stat as stat
    import _struct as struct
    import posix
    from _operator import itemgetter

    class _Type(type):
        def __new__(cls, name, bases, body):
            if bases:  # a record; only NamedTuple below has no bases
                fields = tuple(body.get("__annotations__", ()))
                defaults = {field: body.pop(field) for field in fields if field in body}
                getters = {field: property(itemgetter(at)) for at, field in enumerate(fields)}
                body.update(getters, _fields=fields, _field_defaults=defaults)
            return super().__new__(cls, name, bases or (tuple,), body)

    class NamedTuple(metaclass=_Type):
        """typing.NamedTuple as far as model.py needs it: an immutable tuple with names."""

        __slots__ = ()

        def __new__(cls, *args, **given):
            """Return a record; TypeError for a missing, unknown or repeated field."""
            named = dict(zip(cls._fields, args))
            if len(args) > len(cls._fields) or named.keys() & given.keys():
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}")
            values = {**cls._field_defaults, **named, **given}
            if values.keys() != set(cls._fields):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}")
            return tuple.__new__(cls, [values[field] for field in cls._fields])

        def _replace(self, **given):
            """Return a record with some fields changed."""
            return type(self)(**{**dict(zip(self._fields, self)), **given})

        def __repr__(self):
            pairs = (f"{field}={value!r}" for field, value in zip(self._fields, self))
            return f"{type(self).__name__}({', '.join(pairs)})"


def fsencode(name: str) -> bytes:
    """Return the bytes that os.fsencode returns."""
    return name.encode(sys.getfilesystemencoding(), "surrogateescape")


def fsdecode(name: bytes) -> str:
    """Return the text that os.fsdecode returns."""
    return name.decode(sys.getfilesystemencoding(), "surrogateescape")


def exists(path: bytes) -> bool:
    """Tell what os.path.exists tells."""
    try:
        posix.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte
        return False
    return True


def add_site_packages() -> None:
    """Make click, prctl and seccomp importable: bin/pybind starts Python with -S."""
    import site

    site.main()
