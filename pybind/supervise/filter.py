# SPDX-License-Identifier: GPL-3.0-or-later
"""The seccomp filter: reports some system calls, on every system call ABI of the machine.

libseccomp (python3-seccomp) makes the BPF program. It also covers socketcall(2) of i386.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import Refused
from .kernel import machine

REPORTED = ("bind", "landlock_restrict_self")  # sandboxes.py needs the second
_ARCHITECTURES = {  # uname -m -> libseccomp's names of the ABIs
    "x86_64": ("X86_64", "X32", "X86"),
    "aarch64": ("AARCH64", "ARM"),
    "riscv64": ("RISCV64",),
}


def load_library() -> Any:  # an untyped extension module
    """Return libseccomp's Python module; raises Refused when there is none."""
    try:
        import seccomp  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        raise Refused(
            "the supervised mode needs libseccomp's Python module",
            "repair: sudo apt-get install python3-seccomp",
        ) from None
    return seccomp


def build() -> bytes:
    """Return the BPF program (struct sock_filter[], in host byte order); raises Refused."""
    seccomp = load_library()
    try:
        return _build(seccomp)
    except RuntimeError as error:  # of libseccomp, in its own words
        raise Refused(f"cannot make the seccomp filter: {error}") from None


def _build(seccomp: Any) -> bytes:
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
