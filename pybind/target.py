# SPDX-License-Identifier: GPL-3.0-or-later
"""File -> Target: the program that execve(2) will run, and how it can be served.

Follows `#!` like execve(2), and reads ELF headers (elf(5)). Never guesses from a name.
"""

from __future__ import annotations

from ._lean import exists, fsdecode, posix, stat, struct
from .diagnose import CAP_NET_BIND_SERVICE, mount_flags
from .errors import ProgramNotExecutable, ProgramNotFound
from .model import Target
from .paths import LIBRARY, STARTERS

_DEFAULT_PATH = b"/bin:/usr/bin"  # confstr(_CS_PATH), which execvp(3) uses
_ADMIN_PATH = (b"/usr/local/bin", b"/usr/local/sbin", b"/usr/sbin", b"/sbin")
_INTERPRETERS_MAX = 5  # the kernel's own limit for scripts of scripts
_RAISED = "it starts with other rights than its caller's"
_NOT_RAISED = "a supervisor would keep it from other rights than its caller's (no_new_privs)"
_HEAD_LEN = 256  # BINPRM_BUF_SIZE: the kernel reads no more of the first line
_PT_LOAD, _PT_INTERP, _PT_NOTE = 1, 3, 4
_GO_NOTE = (b"Go\0\0", 4)  # owner and type of Go's build id note
_GO_SECTIONS = (b".go.buildinfo\0", b".gopclntab\0", b".go.module\0")
_GO_MAGIC = b"\xff Go buildinf:"
_PAGE = 4096  # enough for all program headers of an ordinary file
_READ_MAX = 1 << 20
_SEARCHED_MAX = 1 << 28  # bytes of a segment, searched only in files without section headers


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
        if not exists(path):  # also when the caller cannot search the folder
            continue
        try:
            _check_executable(path)
        except ProgramNotExecutable as error:
            denied = denied or error
            continue
        return path
    if denied:
        raise denied
    from . import hints  # only when there is no such program

    raise ProgramNotFound(
        f"cannot start {name!r}: not found in PATH ({fsdecode(search)})",
        *(f"there is {fsdecode(path)}: give the full path" for path in _elsewhere(program)),
        *hints.for_program(name),
    )


def _elsewhere(program: bytes) -> list[bytes]:
    """Return the path of such a program in an administrator's folder, at most one."""
    places = (folder + b"/" + program for folder in _ADMIN_PATH)
    return [path for path in places if posix.access(path, posix.X_OK)][:1]


def _check_executable(path: bytes) -> None:
    name = fsdecode(path)
    try:
        status = posix.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ProgramNotFound(f"cannot start {name!r}: {error.strerror}") from None
    except OSError as error:
        raise ProgramNotExecutable(f"cannot start {name!r}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ProgramNotExecutable(f"cannot start {name!r}: it is not a regular file")
    if not posix.access(path, posix.X_OK):
        raise ProgramNotExecutable(
            f"cannot start {name!r}: not executable by uid {posix.getuid()} "
            f"(mode {status.st_mode & 0o7777:04o}, owner {status.st_uid}), or its file system "
            "is mounted noexec"
        )


def classify(path: bytes) -> Target:
    """Return the Target for execve(2) of `path`: its kind, and how it can be served.

    Raises ProgramNotExecutable for a script whose interpreter is missing.
    """
    current, head = path, _read_head(path)
    for _ in range(_INTERPRETERS_MAX):
        interpreter = _named_by(head)
        if not interpreter:
            break
        current = _interpreter(current, interpreter)
        head = _read_head(current)
    kind = "script run by " + fsdecode(current) if current != path else "program"
    # Set-id bits and capabilities count on the interpreter, not on the script (execve(2)).
    raised = _raises_privileges(current)
    if raised is not None:
        why, able = raised
        if able:
            return Target(path, f"{kind} {why}", binds_alone=True)
        return Target(path, f"{kind} {why}", _RAISED, _NOT_RAISED)
    if not head and not posix.access(current, posix.R_OK):
        hidden = "it cannot be read, so the kernel lets no other process look into it (mode 0711)"
        return Target(path, f"{kind} that cannot be read", None, hidden)
    if not head.startswith(b"\x7fELF"):
        return Target(path, "script without #!, run by /bin/sh")
    fd = posix.open(current, posix.O_RDONLY | posix.O_CLOEXEC)  # type: ignore[attr-defined,unused-ignore] # not in the stub of mypy
    try:
        elf, obstacle = _elf(fd)
    finally:
        posix.close(fd)
    # The starter is static, so that it starts quickly. It executes Python, which is not.
    if obstacle and _is_starter(current):
        elf, obstacle = "pybind itself", None
    return Target(path, f"{kind}, {elf}", obstacle)


def _is_starter(path: bytes) -> bool:
    from posixpath import realpath  # imports os: only for programs that preload cannot serve

    return fsdecode(realpath(path)) in map(realpath, STARTERS)


def _read_head(path: bytes) -> bytes:
    """Return the first bytes of the file, as the kernel reads them; b"" if unreadable."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD_LEN)
    except OSError:
        return b""


def _named_by(head: bytes) -> bytes:
    """Return the interpreter of a script, or nothing; only blanks and tabs end it (execve(2))."""
    line = head[2:].split(b"\n")[0] if head.startswith(b"#!") else b""
    return line.strip(b" \t").replace(b"\t", b" ").split(b" ")[0]


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
    """Return why execve(2) of `path` raises privileges, or None.

    The loader then ignores LD_PRELOAD (secure-execution mode, ld.so(8)). The second
    value tells whether the program can bind privileged ports itself.
    """
    status = posix.stat(path)
    if _no_new_privs() or mount_flags(path) & posix.ST_NOSUID:
        return None
    if status.st_mode & stat.S_ISUID and status.st_uid != posix.getuid():
        return f"that is setuid to uid {status.st_uid}", status.st_uid == 0
    if status.st_mode & stat.S_ISGID and status.st_mode & 0o010 and status.st_gid != posix.getgid():
        return f"that is setgid to gid {status.st_gid}", False
    try:
        value = posix.getxattr(path, "security.capability")
    except OSError:
        return None
    # struct vfs_cap_data (capabilities(7)): magic and flags, then permitted and
    # inheritable words, little-endian.
    flags, permitted = struct.unpack_from("<II", value)
    able = bool(flags & 1 and permitted >> CAP_NET_BIND_SERVICE & 1)
    return "that has file capabilities", able


def _no_new_privs() -> bool:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        return any(line.split() == ["NoNewPrivs:", "1"] for line in status)


def _elf(fd: int) -> tuple[str, str | None]:
    """Return the kind of an ELF file, and why preload cannot serve it, or None."""
    head = posix.pread(fd, _PAGE, 0)
    with open(LIBRARY, "rb") as library:
        native = library.read(20)
    # Class and byte order (e_ident), and e_machine: those of our own library.
    if head[4:6] != native[4:6] or head[18:20] != native[18:20]:
        return (
            "ELF of another architecture",
            "it is of another architecture than the preload library",
        )
    try:
        segments = _segments(fd, head)
        go_built = _go_built(fd, head, segments)
    except struct.error:
        return "ELF with damaged headers", None  # execve(2) reports the error
    if go_built:
        return "built by Go", "Go programs call the kernel without a C library"
    if all(kind != _PT_INTERP for kind, _, _ in segments):
        return "statically linked", "it is statically linked: no library can be loaded into it"
    return "dynamically linked", None


def _segments(fd: int, head: bytes) -> list[tuple[int, int, int]]:
    """Return type, offset in the file and size in the file of each segment (elf(5))."""
    wide, order = _layout(head)
    offset = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    table = _read(fd, head, offset, size * count)
    form = order + ("I4xQ16xQ" if wide else "II8xI")
    return [struct.unpack_from(form, table, at) for at in range(0, size * count, size or 1)]


def _go_built(fd: int, head: bytes, segments: list[tuple[int, int, int]]) -> bool:
    """Tell whether Go's linker left a mark in the file.

    Go's build id may be absent (-buildid=). The C linker of a cgo program merges some
    of Go's sections into others, but not all. A file without section headers still has
    Go's magic in a segment (debug/buildinfo of Go).
    """
    _, order = _layout(head)
    notes = (_read(fd, head, at, size) for kind, at, size in segments if kind == _PT_NOTE)
    if any(_has_go_note(note, order) for note in notes):
        return True
    names = _section_names(fd, head)
    if names:
        return any(name in names for name in _GO_SECTIONS)
    loaded = ((at, size) for kind, at, size in segments if kind == _PT_LOAD)
    return any(_has_go_magic(fd, at, size) for at, size in loaded)


def _section_names(fd: int, head: bytes) -> bytes:
    """Return the names of all sections, each with a NUL; b"" without section headers."""
    wide, order = _layout(head)
    (offset,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 40 if wide else 32)
    size, count, index = struct.unpack_from(order + "HHH", head, 58 if wide else 46)
    if offset == 0 or index >= count:
        return b""
    entry = _read(fd, head, offset + index * size, size)
    form, at = (order + "QQ", 24) if wide else (order + "II", 16)
    return _read(fd, head, *struct.unpack_from(form, entry, at))


def _has_go_magic(fd: int, at: int, size: int) -> bool:
    end = at + min(size, _SEARCHED_MAX)
    while at < end:
        if _GO_MAGIC in posix.pread(fd, min(_READ_MAX, end - at), at):
            return True
        at += _READ_MAX - len(_GO_MAGIC)  # the pieces overlap: the magic may lie across two
    return False


def _layout(head: bytes) -> tuple[bool, str]:
    """Return whether the file is of the 64-bit class, and its byte order for struct."""
    return head[4] == 2, "<" if head[5] == 1 else ">"


def _read(fd: int, head: bytes, offset: int, size: int) -> bytes:
    """Return a part of the file. head: the first page, which may have it already."""
    if offset + size <= len(head):
        return head[offset : offset + size]
    try:
        return posix.pread(fd, min(size, _READ_MAX), offset)
    except (OSError, OverflowError):  # damaged headers can name any offset
        return b""


def _has_go_note(notes: bytes, order: str) -> bool:
    at = 0
    while at + 12 <= len(notes):
        name_len, desc_len, kind = struct.unpack_from(order + "III", notes, at)
        if (notes[at + 12 : at + 12 + name_len], kind) == _GO_NOTE:
            return True
        at += 12 + (name_len + 3 & ~3) + (desc_len + 3 & ~3)
    return False
