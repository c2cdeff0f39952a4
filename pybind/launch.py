# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores what the start of CPython changed, and executes the program.

helpers/starter.c notes the caller's descriptors and signals before Python starts. The
header of that file describes the form of the notes.
"""

from __future__ import annotations

import errno
import fcntl

from ._lean import TYPE_CHECKING, exists, fsdecode, posix, signal
from .errors import ProgramNotExecutable, ProgramNotFound, Refused
from .model import Plan

if TYPE_CHECKING:
    from typing import NoReturn

_SHELL = b"/bin/sh"


def read_environ() -> tuple[bytes, ...]:
    """Return the environment that pybind was started with, as NAME=VALUE bytes.

    Reads /proc/self/environ (proc(5)), not posix.environ: CPython sets LC_CTYPE in the C
    locale, and a mapping cannot hold duplicates or entries without '='.
    """
    with open("/proc/self/environ", "rb") as file:
        entries = file.read()
    return tuple(entries.split(b"\0")[:-1])


def check_free(first: int, count: int, notes: str) -> None:
    """Raise Refused if the caller has open descriptors where sockets must go.

    first, count: the numbers that the sockets will have. The caller means such a
    descriptor for the program: a lock, a pipe to its parent, sockets of another
    activation. A descriptor of pybind itself closes at execve(2).
    """
    kept = notes.split(":")[1:]  # restore() moves these back to 0 to 2
    for fd in range(first, first + count):
        try:
            closes = fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        except OSError:
            continue
        if not closes and str(fd) not in kept:
            raise Refused(
                f"descriptor {fd} is open already ({posix.readlink(f'/proc/self/fd/{fd}')}), "
                "and a socket belongs there",
                f"if the program does not need it, close it for pybind: pybind ... {fd}<&-",
            )


def execute(plan: Plan, notes: str, sockets: dict[int, int] | None = None) -> NoReturn:
    """Execute the program in this process; never returns.

    notes: the starter's. sockets: number in the program -> descriptor here (borrowed).
    Like execvp(3), runs a file with /bin/sh if execve(2) fails with ENOEXEC. Raises
    ProgramNotFound, ProgramNotExecutable, Refused.
    """
    restore(notes)
    if sockets:
        _place(sockets)
    try:
        _execve(plan.path, plan.argv, plan.environ)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            _raise_for(plan.path, error)
    try:
        _execve(_SHELL, (_SHELL, plan.path, *plan.argv[1:]), plan.environ)
    except OSError as error:
        _raise_for(_SHELL, error)


def restore(notes: str) -> None:
    """Restore descriptors 0 to 2 and the signal dispositions that the starter noted."""
    states, *kept = notes.split(":")
    for sig, state in ((signal.SIGPIPE, states[3]), (signal.SIGXFSZ, states[4])):
        signal.signal(sig, signal.SIG_IGN if state == "i" else signal.SIG_DFL)
    for fd in range(3):
        if states[fd] == "c":
            posix.close(fd)
        elif states[fd] == "d":
            posix.dup2(int(kept[fd]), fd)
            posix.close(int(kept[fd]))


def _place(sockets: dict[int, int]) -> None:
    """Duplicate each socket to its number in the program. Raises Refused."""
    above = max(sockets) + 1  # first out of the way: no duplicate may overwrite a socket
    try:
        moved = {
            number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for number, fd in sockets.items()
        }
        for number, fd in moved.items():
            posix.dup2(fd, number)
    except OSError as error:
        limit = posix.sysconf("SC_OPEN_MAX")  # RLIMIT_NOFILE; importing takes a descriptor
        raise Refused(
            f"cannot hand {len(sockets)} sockets on: {error.strerror}; the limit of open "
            f"descriptors is {limit}",
            f"allow more: ulimit -n {2 * limit}",
        ) from None


def _raise_for(path: bytes, error: OSError) -> NoReturn:
    message = f"cannot start {fsdecode(path)!r}: {posix.strerror(error.errno or 0)}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and not exists(path):
        raise ProgramNotFound(message) from None
    raise ProgramNotExecutable(message) from None


class _Entries:
    """An environment with duplicate names, in a form that posix.execve accepts.

    posix.execve wants a mapping: it calls keys() and values(), and pairs the two lists.
    """

    def __init__(self, environ: tuple[bytes, ...]) -> None:
        self._pairs = []
        for entry in environ:
            # A name may begin with '=': some shells export such variables.
            name, _, value = entry[1:].partition(b"=")
            self._pairs.append((entry[:1] + name, value))

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, name: bytes) -> bytes:
        return dict(self._pairs)[name]

    def keys(self) -> list[bytes]:
        """Return the names, with duplicates."""
        return [name for name, _ in self._pairs]

    def values(self) -> list[bytes]:
        """Return the values in the order of keys()."""
        return [value for _, value in self._pairs]


def _execve(path: bytes, argv: tuple[bytes, ...], environ: tuple[bytes, ...]) -> NoReturn:
    if all(entry.find(b"=", 1) > 0 for entry in environ):
        posix.execve(path, list(argv), _Entries(environ))  # type: ignore[arg-type] # no Mapping
    # posix.execve refuses an entry without '='; execve(2) passes it on.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    args = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
    envp = (ctypes.c_char_p * (len(environ) + 1))(*environ, None)
    libc.execve(path, args, envp)
    raise OSError(ctypes.get_errno(), "execve")
