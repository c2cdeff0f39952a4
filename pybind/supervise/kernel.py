# SPDX-License-Identifier: GPL-3.0-or-later
"""The seccomp filter, its notifications, and the system calls that Python's library lacks.

The filter reports some system calls, on every system call ABI of the machine. libseccomp
(python3-seccomp) makes its BPF program, which also covers socketcall(2) of i386.

The system calls are seccomp(2), seccomp_unotify(2), pidfd_getfd(2) and
process_vm_readv(2). Their functions raise OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from typing import Any, NamedTuple

from ..errors import Refused

# From the kernel's tables of system calls. pidfd_getfd has the same number everywhere.
_SECCOMP_NUMBERS = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_PIDFD_GETFD = 438

_SET_MODE_FILTER = 1
_FLAG_NEW_LISTENER = 1 << 3
_FLAG_WAIT_KILLABLE_RECV = 1 << 5  # Linux 5.19
_IOCTL_RECV = 0xC0502100  # _IOWR('!', 0, struct seccomp_notif)
_IOCTL_SEND = 0xC0182101  # _IOWR('!', 1, struct seccomp_notif_resp)
_IOCTL_ID_VALID = 0x40082102  # _IOW('!', 2, __u64)
_RESPONSE_CONTINUE = 1
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags; seccomp_data
_RESPONSE = struct.Struct("=QqiI")  # id, val, error, flags
_PIDFD_THREAD = os.O_EXCL  # Linux 6.9

_WORD_64 = 8
# What uname(2) says under a 32-bit personality (setarch(8)), where the process is of 64 bits.
_PERSONALITIES = {"i386": "x86_64", "i486": "x86_64", "i586": "x86_64", "i686": "x86_64"}
_PERSONALITIES["armv8l"] = "aarch64"

_libc = ctypes.CDLL(None, use_errno=True)

REPORTED = ("bind", "landlock_restrict_self")  # reported.Sandboxes needs the second
_ARCHITECTURES = {  # uname -m -> libseccomp's names of the ABIs
    "x86_64": ("X86_64", "X32", "X86"),
    "aarch64": ("AARCH64", "ARM"),
    "riscv64": ("RISCV64",),
}


class Notification(NamedTuple):
    """One system call that waits for an answer (struct seccomp_notif).

    id: the cookie of the notification. tid: the calling thread. nr, arch, args: as in
    struct seccomp_data.
    """

    id: int
    tid: int
    nr: int
    arch: int
    args: tuple[int, ...]


def _check(result: int, call: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), call)
    return result


def install_filter(program: bytes) -> int:
    """Load a BPF program (struct sock_filter[]) for this thread and its descendants.

    Returns the listener's descriptor (owned by the caller, close-on-exec). Needs
    no_new_privs. EINVAL: the kernel lacks WAIT_KILLABLE_RECV. EBUSY: the tree of
    processes has a listener already.
    """

    class SockFprog(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    fprog = SockFprog(len(program) // 8, program)
    number = _SECCOMP_NUMBERS[machine()]
    flags = _FLAG_NEW_LISTENER | _FLAG_WAIT_KILLABLE_RECV
    return _check(_libc.syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(fprog)), "seccomp")


def machine() -> str:
    """Return the machine of this process's system calls, as `uname -m` names it.

    A Python of 32 bits on a kernel of 64 has other numbers than the kernel's name tells.
    """
    name = platform.machine()
    if ctypes.sizeof(ctypes.c_void_p) != _WORD_64:
        return f"{name}, 32-bit Python"
    return _PERSONALITIES.get(name, name)


def supported_machine() -> bool:
    """Tell whether the system call numbers of this process are known here."""
    return machine() in _SECCOMP_NUMBERS


def receive(listener_fd: int) -> Notification:
    """Receive one notification. ENOENT: its thread was killed meanwhile; EINTR: ask poll(2) again."""
    buffer = bytearray(_NOTIFICATION.size)
    fcntl.ioctl(listener_fd, _IOCTL_RECV, buffer, True)
    cookie, tid, _, nr, arch, _, *args = _NOTIFICATION.unpack(buffer)
    return Notification(cookie, tid, nr, arch, tuple(args))


def _persist(listener_fd: int, request: int, data: bytes) -> None:
    """Make an ioctl(2) that does not block for long, as often as a signal interrupts it.

    The kernel takes the filter's lock interruptibly (mutex_lock_interruptible), and the
    standard library repeats no ioctl.
    """
    while True:
        try:
            fcntl.ioctl(listener_fd, request, data)
        except InterruptedError:
            continue
        return


def is_waiting(listener_fd: int, cookie: int) -> bool:
    """Tell whether the thread still waits; if not, its id may now be another thread's."""
    try:
        _persist(listener_fd, _IOCTL_ID_VALID, struct.pack("=Q", cookie))
    except OSError:
        return False
    return True


def answer(listener_fd: int, cookie: int, error: int) -> None:
    """End the system call with 0, or with an errno. ENOENT: nobody waits any more."""
    _persist(listener_fd, _IOCTL_SEND, _RESPONSE.pack(cookie, 0, -error, 0))


def let_continue(listener_fd: int, cookie: int) -> None:
    """Let the kernel do the system call itself, with the program's own rights."""
    _persist(listener_fd, _IOCTL_SEND, _RESPONSE.pack(cookie, 0, 0, _RESPONSE_CONTINUE))


def set_title(title: bytes) -> None:
    """Make ps(1) show `title` for this process, cut to the room of its arguments.

    Overwrites the arguments in memory, at arg_start of proc_pid_stat(5). libc and Python
    have copies of them. prctl.set_proctitle() fails without an environment behind them.
    """
    with open("/proc/self/stat", "rb") as file:
        start, end = map(int, file.read().rpartition(b")")[2].split()[45:47])
    room = end - start - 1
    if start and room > 0:
        ctypes.memmove(start, title[:room].ljust(room, b"\0"), room)


def take_fd(tid: int, fd: int) -> int:
    """Return a duplicate (owned, close-on-exec) of a thread's descriptor. EBADF: it has none.

    Before Linux 6.9 a pidfd names whole processes. The thread has its process's descriptors
    unless it unshared them, or has outlived its group's leader: then ENOTSUP.
    """
    try:
        pidfd = os.pidfd_open(tid, _PIDFD_THREAD)
    except OSError:
        return _take_fd_of_process(tid, fd)
    try:
        return get_fd(pidfd, fd)
    finally:
        os.close(pidfd)


def _take_fd_of_process(tid: int, fd: int) -> int:
    theirs = os.stat(f"/proc/{tid}/fd/{fd}")  # ENOENT: it has none
    pidfd = os.pidfd_open(process_of(tid))
    try:
        found = get_fd(pidfd, fd)
    except OSError as error:
        if error.errno in (errno.EBADF, errno.ESRCH):
            raise _no_pidfd_of_a_thread() from None
        raise
    finally:
        os.close(pidfd)
    own = os.fstat(found)
    if (own.st_dev, own.st_ino) != (theirs.st_dev, theirs.st_ino):
        os.close(found)
        raise _no_pidfd_of_a_thread()
    return found


def _no_pidfd_of_a_thread() -> OSError:
    return OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), "pidfd_getfd")


def process_of(tid: int) -> int:
    """Return the process of a thread (proc(5))."""
    with open(f"/proc/{tid}/status", "rb") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(b"Tgid:"))


def get_fd(pidfd: int, fd: int) -> int:
    """Return a duplicate (owned by the caller, close-on-exec) of another's descriptor."""
    return _check(_libc.syscall(_PIDFD_GETFD, pidfd, fd, 0), "pidfd_getfd")


def read_memory(tid: int, at: int, length: int) -> bytes:
    """Return `length` bytes of a thread's memory, read once.

    EFAULT: some of them do not exist, as for bind(2).
    """

    class Iovec(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))

    buffer = ctypes.create_string_buffer(length)
    local = Iovec(ctypes.addressof(buffer), length)
    remote = Iovec(at, length)
    read = _libc.process_vm_readv
    read.restype = ctypes.c_ssize_t
    args = (tid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    if _check(read(*args), "process_vm_readv") != length:  # a page in the middle is missing
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT), "process_vm_readv")
    return buffer.raw


def load_libseccomp() -> Any:  # an untyped extension module
    """Return libseccomp's Python module; raises Refused when there is none."""
    try:
        import seccomp  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        raise Refused(
            "the supervised mode needs libseccomp's Python module",
            "repair: sudo apt-get install python3-seccomp",
        ) from None
    return seccomp


def build_filter() -> bytes:
    """Return the BPF program (struct sock_filter[], in host byte order); raises Refused."""
    seccomp = load_libseccomp()
    try:
        return _build_filter(seccomp)
    except RuntimeError as error:  # of libseccomp, in its own words
        raise Refused(f"cannot make the seccomp filter: {error}") from None


def _build_filter(seccomp: Any) -> bytes:
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    # By default libseccomp's filter kills a process of an ABI that is not listed here.
    made.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.ALLOW)
    for name in _ARCHITECTURES[machine()]:
        arch = getattr(seccomp.Arch, name)
        if not made.exist_arch(arch):
            made.add_arch(arch)
    for name in REPORTED:
        made.add_rule(seccomp.NOTIFY, name)
    return _exported(made)


def _exported(made: Any) -> bytes:
    """Return the program of a filter. A pipe has no size limit of the caller's (RLIMIT_FSIZE)."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(reading, "rb") as source:
        with os.fdopen(writing, "wb") as sink:
            made.export_bpf(sink)
        return source.read()
