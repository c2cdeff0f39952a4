# SPDX-License-Identifier: GPL-3.0-or-later
"""The seccomp filter: reports some system calls, on every system call ABI of the machine.

libseccomp (python3-seccomp) makes the BPF program. It also covers socketcall(2) of i386.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from ..errors import Refused

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
    # By default libseccomp's filter kills a process of an ABI that is not listed here.
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
