# SPDX-License-Identifier: GPL-3.0-or-later
"""The seccomp filter: what it reports is so on every system call ABI of the machine.

libseccomp (python3-seccomp) makes the BPF; it knows the i386 socketcall too.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from ..errors import Refused

REPORTED = ("bind", "landlock_restrict_self")  # the second for sandboxes.py
_ARCHITECTURES = {  # by uname -m: the names of libseccomp
    "x86_64": ("X86_64", "X32", "X86"),
    "aarch64": ("AARCH64", "ARM"),
    "riscv64": ("RISCV64",),
}


def load_library() -> Any:  # an untyped extension module
    """Return libseccomp's Python module; raises Refused when there is none."""
    try:
        import seccomp  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise Refused(
            "the supervised mode needs libseccomp's Python module",
            "repair: sudo apt-get install python3-seccomp",
        ) from None
    return seccomp


def build() -> bytes:
    """Return the BPF program (struct sock_filter[], in host byte order)."""
    seccomp = load_library()
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    # Else a program of an ABI that the library does not know would be killed.
    made.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.ALLOW)
    for name in _ARCHITECTURES[platform.machine()]:
        arch = getattr(seccomp.Arch, name)
        if not made.exist_arch(arch):
            made.add_arch(arch)
    for name in REPORTED:
        made.add_rule(seccomp.NOTIFY, name)
    memory = os.memfd_create("bpf", os.MFD_CLOEXEC)
    with os.fdopen(memory, "w+b") as file:
        made.export_bpf(file)
        file.flush()
        file.seek(0)
        return file.read()
