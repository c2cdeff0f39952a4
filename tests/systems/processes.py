# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs processes that do not outlive this process, and programs of another architecture.

As a program it runs a command that can execute programs of another architecture, by qemu-user.
The whole machine has one table of interpreters (binfmt_misc), but since Linux 6.7 a user
namespace may have its own table. The command runs in such a namespace, in which every user
and group keeps its id. The machine's table stays unchanged. Root only.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys

# The kernel ends the process when its parent ends in any way.
WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]

# A PID namespace ends its descendants too, even daemons.
ALL_WITH_PARENT = [*WITH_PARENT, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
EVERYBODY = "0 0 4294967295"
TABLE = pathlib.Path("/proc/sys/fs/binfmt_misc")
NATIVE = ("amd64", "i386")  # what an x86-64 processor executes itself
# Architecture -> (its name in qemu, e_machine of elf(5)).
MACHINES = {"arm64": ("aarch64", 183), "riscv64": ("riscv64", 243)}
ET_EXEC = 2
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def started(command, **options):
    """Start command in its own session; end what is left of the session afterwards."""
    process = subprocess.Popen(
        [*WITH_PARENT, *map(str, command)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(command, output, timeout):
    """Run command with its output in a file. Raises subprocess.SubprocessError. Root only."""
    with started([*ALL_WITH_PARENT, *command], stdout=output, stderr=output) as process:
        status = process.wait(timeout)
        if status:
            raise subprocess.CalledProcessError(status, str(command[0]))


def wrapped(architecture, command):
    """Return the argv that runs command with qemu for programs of `architecture`."""
    if architecture in NATIVE:
        return command
    return ["/usr/bin/python3", "-B", __file__, architecture, *command]


def entry(architecture, interpreter):
    """Return the line for binfmt_misc: 64 bits, little endian, executable or shared object."""
    name, machine = MACHINES[architecture]
    magic = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9) + struct.pack("<HH", ET_EXEC, machine)
    # The mask ignores the ABI's version, and the bit in which ET_EXEC and ET_DYN differ.
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    escaped = ["".join(f"\\x{byte:02x}" for byte in part) for part in (magic, mask)]
    # F: the kernel opens the interpreter now, so that it works in a chroot. P: argv[0] is kept.
    return f":{name}:M::{escaped[0]}:{escaped[1]}:{interpreter}:FP"


def _enter(architecture, interpreter, ready, go):
    """Enter the namespaces; the parent, which stays outside, writes the maps of ids."""
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no namespace to execute foreign programs in")
    os.write(ready, b"x")
    os.read(go, 1)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", TABLE], check=True)
    (TABLE / "register").write_text(entry(architecture, interpreter))


def main(architecture, *command):
    """Run command in the namespaces; return its status."""
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
