# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command in which programs of another machine can be executed, by qemu-user.

The kernel's table of interpreters (binfmt_misc) is the whole machine's. Since Linux 6.7 a user
namespace may have one of its own: the command gets such a namespace, in which every user and
group is itself, and the machine's table stays as it was. Root only.
"""

import ctypes
import os
import pathlib
import shutil
import struct
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
EVERYBODY = "0 0 4294967295"
TABLE = pathlib.Path("/proc/sys/fs/binfmt_misc")
NATIVE = ("amd64", "i386")  # what an x86-64 processor executes itself
# qemu's name, and e_machine of elf(5).
MACHINES = {"arm64": ("aarch64", 183), "riscv64": ("riscv64", 243)}
ET_EXEC = 2
_libc = ctypes.CDLL(None, use_errno=True)


def wrapped(architecture, command):
    """Return the argv that runs command where programs of `architecture` can be executed."""
    if architecture in NATIVE:
        return command
    return ["/usr/bin/python3", "-B", __file__, architecture, *command]


def entry(architecture, interpreter):
    """Return the line for binfmt_misc: 64 bits, little endian, executable or shared object."""
    name, machine = MACHINES[architecture]
    magic = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9) + struct.pack("<HH", ET_EXEC, machine)
    # The ABI's version is not looked at; ET_EXEC and ET_DYN differ in one bit.
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    escaped = ["".join(f"\\x{byte:02x}" for byte in part) for part in (magic, mask)]
    # F: opened now, so that it is found in a chroot too. P: the program keeps its argv[0].
    return f":{name}:M::{escaped[0]}:{escaped[1]}:{interpreter}:FP"


def _enter(architecture, interpreter, ready, go):
    """Enter the namespaces; the parent, which is outside, says who is who in them."""
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no namespace to execute foreign programs in")
    os.write(ready, b"x")
    os.read(go, 1)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", TABLE], check=True)
    (TABLE / "register").write_text(entry(architecture, interpreter))


def main(architecture, *command):
    """Run command in the namespaces; returns its status."""
    interpreter = shutil.which(f"qemu-{MACHINES[architecture][0]}-static")
    if not interpreter:
        print("qemu-user-static is missing", file=sys.stderr)
        return 1
    (heard, ready), (waits, go) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _enter(architecture, interpreter, ready, waits)
        os.execvp(command[0], command)
    os.close(ready)
    if os.read(heard, 1):
        for kind in ("uid_map", "gid_map"):
            pathlib.Path(f"/proc/{child}/{kind}").write_text(EVERYBODY)
        os.write(go, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
