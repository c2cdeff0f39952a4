# SPDX-License-Identifier: GPL-3.0-or-later
"""Why pybindd cannot run here: each reason in words, with the repair.

Reasons are found by trying, not by version numbers: after a failure, these functions
look for the cause.
"""

from __future__ import annotations

import errno
import os
import re

from ..errors import PybindError
from ..paths import BPF_OBJECT, REINSTALL
from .bpf import LIBRARY, BpfError
from .files import read_mounts

LOCKDOWN = "/sys/kernel/security/lockdown"
BTF = "/sys/kernel/btf/vmlinux"
_NEEDED = {39: "CAP_BPF", 38: "CAP_PERFMON", 12: "CAP_NET_ADMIN"}
_IDENTITY = [0, 0, 2**32 - 1]


class CannotRun(PybindError):
    """pybindd cannot run here. lines: the reason and the repair."""

    # Not 1: systemd starts pybindd again after a 1, but not after a 3.
    status = 3


def find_cgroup() -> str:
    """Return the mount point of the control groups of version 2. Raises CannotRun."""
    for mount in read_mounts().values():
        if mount.kind == "cgroup2" and os.path.isdir(mount.path):
            return mount.path
    raise CannotRun(
        "no control group hierarchy of version 2 is mounted: pybindd attaches to its root",
        "to mount it: sudo mount -t cgroup2 none /sys/fs/cgroup",
        "systemd does, where the kernel is started with systemd.unified_cgroup_hierarchy=1",
    )


def open_cgroup(path: str) -> int:
    """Return a descriptor (owned by the caller) of a control group. Raises CannotRun."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CannotRun(f"{path}: {os.strerror(error.errno or 0)}") from None
    if not os.path.exists(f"{path}/cgroup.controllers"):
        os.close(fd)
        raise CannotRun(f"{path} is not a control group of version 2")
    return fd


def check_place() -> None:
    """Raise CannotRun in a mount namespace where /etc/pybind may not be the host's."""
    try:
        # A mount id is unique in the kernel: two mount namespaces share none.
        ours, theirs = read_mounts(), read_mounts("/proc/1/mountinfo")
    except OSError as error:
        raise CannotRun(f"{error.filename}: {os.strerror(error.errno or 0)}") from None
    if not ours.keys() & theirs.keys():
        raise CannotRun(
            "this is not the mount namespace of process 1: a mount over /etc/pybind there would "
            "not show here",
            "a unit of pybindd must have no ProtectSystem=, PrivateTmp= and the like; for a control "
            "group of your own: pybindd --cgroup DIR",
        )


def check_ids() -> None:
    """Raise CannotRun in a user namespace where uids or gids are not the kernel's own."""
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}") as file:
            if [int(word) for word in file.read().split()] != _IDENTITY:
                raise CannotRun(
                    f"this is a user namespace whose {name} is not the identity: numbers in the "
                    "files would mean other users to the kernel",
                    "run pybindd on the host",
                )


def no_library(error: OSError) -> CannotRun:
    """Return why libbpf cannot be loaded."""
    return CannotRun(f"{LIBRARY} cannot be loaded: {error}", "repair: sudo apt-get install libbpf1")


def no_object() -> CannotRun:
    """Return that the object file with the programs is missing."""
    return CannotRun(
        f"{BPF_OBJECT} is missing: pybind was built without clang or the headers of libbpf",
        f"repair: sudo apt-get install clang libbpf-dev && sudo {REINSTALL}",
    )


def not_loaded(error: BpfError, messages: list[str]) -> CannotRun:
    """Return why the kernel did not load the programs. messages: libbpf's."""
    said = "\n".join(messages)
    missing = _missing_capabilities()
    if missing:
        return CannotRun(
            f"the kernel does not let this process load programs: it lacks {', '.join(missing)}",
            "start pybindd as root: sudo systemctl start pybindd",
        )
    if not os.path.exists(BTF):
        return CannotRun(
            f"this kernel has no {BTF}: without it the programs cannot be fitted to it",
            "a kernel built with CONFIG_DEBUG_INFO_BTF=y is needed; those of distributions are",
        )
    if _locked_down():
        return CannotRun(
            "the kernel is locked down (lockdown=confidentiality), and lets no program read its "
            "memory",
            "pybind-helper goes on to serve; lockdown=integrity would let pybindd run",
        )
    if "bpf_loop" in said or "unknown func" in said or "invalid func" in said:
        return CannotRun(
            "this kernel is too old for the programs (bpf_loop came with Linux 5.17)",
            "pybind-helper goes on to serve",
        )
    last = next((line for line in reversed(messages) if line.startswith("libbpf")), "")
    return CannotRun(
        f"the kernel did not take the programs: {error.strerror}",
        *filter(None, [_verifiers_reason(said), last]),
    )


def _verifiers_reason(said: str) -> str:
    """Return the verifier's reason, the line before its statistics; "" without one."""
    match = re.search(r"^(.+)\nprocessed \d+ insns", said, re.MULTILINE)
    return f"the verifier says: {match[1]}" if match else ""


def not_attached(error: BpfError, cgroup: str) -> CannotRun:
    """Return why the programs could not be attached."""
    if error.errno == errno.EPERM:
        return CannotRun(
            f"{cgroup}: the kernel does not let programs be attached there (EPERM): another program "
            "is attached that allows no other beside it",
            f"to see it (without the flag multi): sudo bpftool cgroup tree {cgroup}",
        )
    return CannotRun(f"{cgroup}: {error.strerror}")


def _missing_capabilities() -> list[str]:
    with open("/proc/self/status") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    if effective >> 21 & 1:  # CAP_SYS_ADMIN includes them (capabilities(7))
        return []
    return [name for number, name in _NEEDED.items() if not effective >> number & 1]


def _locked_down() -> bool:
    try:
        with open(LOCKDOWN) as file:
            return "[confidentiality]" in file.read()
    except OSError:
        return False
