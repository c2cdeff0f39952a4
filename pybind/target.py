# SPDX-License-Identifier: GPL-3.0-or-later
"""File -> Target: what will really be executed, and whether preload can serve it.

Follows `#!` as execve(2) does and reads ELF headers only (elf(5)); never
guesses from a name.
"""

from __future__ import annotations

from ._lean import exists, fsdecode, os, stat, struct
from .errors import ProgramNotExecutable, ProgramNotFound
from .model import Target
from .paths import LIBRARY, STARTERS

_DEFAULT_PATH = b"/bin:/usr/bin"  # confstr(_CS_PATH), which execvp(3) uses
_INTERPRETERS_MAX = 5  # the kernel's own limit for scripts of scripts
_HEAD_LEN = 256  # BINPRM_BUF_SIZE: the kernel reads no longer first line
_PT_INTERP, _PT_NOTE = 3, 4
_GO_NOTE = (b"Go\0\0", 4)  # owner and type of Go's build id note
_NOTES_MAX = 1 << 20
_CAP_NET_BIND_SERVICE = 10


def find(program: bytes, environ: tuple[bytes, ...]) -> bytes:
    """Return the path that execvp(3) would execute.

    Raises ProgramNotFound, ProgramNotExecutable.
    """
    name = fsdecode(program)
    if not program:
        raise ProgramNotFound("cannot start '': the name of the program is empty")
    if b"/" in program:
        _check_executable(program)
        return program
    search = next((e[5:] for e in environ if e.startswith(b"PATH=")), _DEFAULT_PATH)
    denied: ProgramNotExecutable | None = None
    for folder in search.split(b":"):
        path = (folder or b".").rstrip(b"/") + b"/" + program
        if not exists(path):  # or in a folder that the caller cannot search
            continue
        try:
            _check_executable(path)
        except ProgramNotExecutable as error:
            denied = denied or error
            continue
        return path
    if denied:
        raise denied
    raise ProgramNotFound(
        f"cannot start {name!r}: not found in PATH ({fsdecode(search)})",
    )


def _check_executable(path: bytes) -> None:
    name = fsdecode(path)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ProgramNotFound(f"cannot start {name!r}: {error.strerror}") from None
    except OSError as error:
        raise ProgramNotExecutable(f"cannot start {name!r}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ProgramNotExecutable(f"cannot start {name!r}: it is not a regular file")
    if not os.access(path, os.X_OK):
        raise ProgramNotExecutable(
            f"cannot start {name!r}: not executable by uid {os.getuid()} "
            f"(mode {status.st_mode & 0o7777:04o}, owner {status.st_uid}), or its file system "
            "is mounted noexec"
        )


def classify(path: bytes) -> Target:
    """Return what execve(2) of `path` executes in the end, and how it can be served.

    Raises ProgramNotExecutable for a script whose interpreter is not there.
    """
    current, head = path, _read_head(path)
    for _ in range(_INTERPRETERS_MAX):
        words = head[2:].split(b"\n")[0].split(maxsplit=1) if head.startswith(b"#!") else []
        if not words:
            break
        current = _interpreter(current, words[0])
        head = _read_head(current)
    kind = "script run by " + fsdecode(current) if current != path else "program"
    # The privileges of a script are its interpreter's (execve(2)).
    raised = _raises_privileges(current)
    if raised is not None:
        why, able = raised
        if able:
            return Target(path, f"{kind} {why}", binds_alone=True)
        return Target(path, f"{kind} {why}", f"it is one {why}", f"it is one {why}")
    if not head and not os.access(current, os.R_OK):
        hidden = "it cannot be read, so the kernel lets no other process look into it (mode 0711)"
        return Target(path, f"{kind} that cannot be read", None, hidden)
    if not head.startswith(b"\x7fELF"):
        return Target(path, "script without #!, run by /bin/sh")
    with open(current, "rb") as file:
        elf, obstacle = _elf(file.read(_NOTES_MAX))
    # Static, so that it starts quickly, but what it executes is Python.
    if obstacle and _is_starter(current):
        elf, obstacle = "pybind itself", None
    return Target(path, f"{kind}, {elf}", obstacle)


def _is_starter(path: bytes) -> bool:
    from posixpath import realpath  # imports os: only for what preload cannot serve

    return fsdecode(realpath(path)) in map(realpath, STARTERS)


def _read_head(path: bytes) -> bytes:
    """Return what the kernel looks at first; empty where the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD_LEN)
    except OSError:
        return b""


def _interpreter(script: bytes, interpreter: bytes) -> bytes:
    try:
        _check_executable(interpreter)
    except (ProgramNotFound, ProgramNotExecutable) as error:
        raise ProgramNotExecutable(
            f"cannot start {fsdecode(script)!r}: its interpreter cannot be executed",
            *error.lines,
        ) from None
    return interpreter


def _raises_privileges(path: bytes) -> tuple[str, bool] | None:
    """Return (why, whether it can then bind privileged ports itself), or None.

    In secure-execution mode the loader ignores LD_PRELOAD (ld.so(8)).
    """
    status = os.stat(path)
    if _no_new_privs() or os.statvfs(path).f_flag & os.ST_NOSUID:
        return None
    if status.st_mode & stat.S_ISUID and status.st_uid != os.getuid():
        return f"that is setuid to uid {status.st_uid}", status.st_uid == 0
    if status.st_mode & stat.S_ISGID and status.st_mode & 0o010 and status.st_gid != os.getgid():
        return f"that is setgid to gid {status.st_gid}", False
    try:
        value = os.getxattr(path, "security.capability")
    except OSError:
        return None
    # struct vfs_cap_data (capabilities(7)): magic and flags, then permitted and
    # inheritable words, little-endian.
    flags, permitted = struct.unpack_from("<II", value)
    able = bool(flags & 1 and permitted >> _CAP_NET_BIND_SERVICE & 1)
    return "that has file capabilities", able


def _no_new_privs() -> bool:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        return any(line.split() == ["NoNewPrivs:", "1"] for line in status)


def _elf(data: bytes) -> tuple[str, str | None]:
    """Return (what it is, why preload cannot serve it or None)."""
    with open(LIBRARY, "rb") as library:
        native = library.read(20)
    # Class and byte order (e_ident), and e_machine: those of our own library.
    if data[4:6] != native[4:6] or data[18:20] != native[18:20]:
        return (
            "ELF of another architecture",
            "it is of another architecture than the preload library",
        )
    try:
        kinds, go_built = _program_headers(data)
    except struct.error:
        return "ELF with damaged headers", None  # execve(2) will say what it thinks of it
    if go_built:
        return "built by Go", "Go programs call the kernel without a C library"
    if _PT_INTERP not in kinds:
        return "statically linked", "it is statically linked: no library can be loaded into it"
    return "dynamically linked", None


def _program_headers(data: bytes) -> tuple[set[int], bool]:
    """Return the types of the program headers, and whether a Go build id is there."""
    wide = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    offset = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    kinds, go_built = set(), False
    for at in range(offset, offset + size * count, size or 1):
        kind = struct.unpack_from(order + "I", data, at)[0]
        kinds.add(kind)
        if kind == _PT_NOTE:
            start = struct.unpack_from(
                order + ("Q" if wide else "I"), data, at + (8 if wide else 4)
            )
            length = struct.unpack_from(
                order + ("Q" if wide else "I"), data, at + (32 if wide else 16)
            )
            go_built = go_built or _has_go_note(data[start[0] : start[0] + length[0]], order)
    return kinds, go_built


def _has_go_note(notes: bytes, order: str) -> bool:
    at = 0
    while at + 12 <= len(notes):
        name_len, desc_len, kind = struct.unpack_from(order + "III", notes, at)
        if (notes[at + 12 : at + 12 + name_len], kind) == _GO_NOTE:
            return True
        at += 12 + (name_len + 3 & ~3) + (desc_len + 3 & ~3)
    return False
