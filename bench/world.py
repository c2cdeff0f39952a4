# SPDX-License-Identifier: GPL-3.0-or-later
"""What the measurements share: grants, programs, users, a pybindd, equal conditions, the machine.

The benchmark runs as root inside tools/sandbox; the measured programs run as nobody.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, Callable

import support

import pybind
from pybind.kernel.obstacles import find_cgroup

from . import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTHBIND = pathlib.Path("/etc/authbind")
ENVIRON = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
SERVED = ("preload", "supervised", "authbind")
FIRST_CPU, LAST_CPU = 0, (os.cpu_count() or 1) - 1
_MODES = {"preload": "preload", "supervised": "supervise"}
_PYBINDD = support.PREFIX + "/sbin/pybindd"
_PACKAGES = ("authbind", "nginx-common", "socat", "wrk", "libc6", "musl")
_INSTALLED = ("bin/pybind", "lib/pybind", "libexec/pybind", "share/pybind")


def grant(port: int) -> None:
    """Let the user nobody bind a port, by the same file for pybind and for authbind."""
    support.flag(f"byport/{port}")
    path = AUTHBIND / "byport" / str(port)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.chown(path, 0, support.GID)
    path.chmod(0o750)


def clear() -> None:
    """Leave the permission folders of both empty."""
    support.clear_config()
    shutil.rmtree(AUTHBIND, ignore_errors=True)
    for folder in ("byport", "byaddr", "byuid"):
        (AUTHBIND / folder).mkdir(parents=True)


def wrapper(way: str, port: str = "80") -> list[str]:
    """Return the command before a program for a way of SERVED; nothing for any other way."""
    if way == "authbind":
        return ["/usr/bin/authbind"]
    if way not in _MODES:
        return []
    return [support.PYBIND, "--port", port, "--mode", _MODES[way], "--"]


def pinned(cpu: int) -> list[str]:
    """Return the command before a program that keeps it on one CPU."""
    return ["/usr/bin/taskset", "--cpu-list", str(cpu)]


@functools.cache
def compiled(name: str, *flags: str) -> str:
    """Compile bench/src/NAME.c; returns the path of a program that nobody can run."""
    program = support.scratch_dir() / name
    source = ROOT / "bench" / "src" / f"{name}.c"
    command = ["gcc", "-O2", "-Wall", "-Wextra", *flags, "-o", program, source]
    subprocess.run(command, check=True)
    return str(program)


class Loop:
    """A running `binds loop` (src/binds.c), which binds `count` times whenever it is asked to."""

    def __init__(self, argv: list[str], count: int, **options: Any) -> None:
        """Start argv, a `binds loop` with the commands before it; options of support.as_user()."""
        self._count = count
        self._process = support.as_user(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )
        if self._process.stdout.readline() != "ready\n":
            raise ChildProcessError(f"{argv} does not start")

    def bind(self) -> float:
        """Return the median of the seconds of the binds."""
        self._process.stdin.write(f"{self._count}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline()) * 1e-9

    def end(self) -> None:
        """End the program by the end of its input."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Pybindd:
    """A running pybindd: its control group, its process, the seconds until it was ready."""

    def __init__(self, cgroup: pathlib.Path) -> None:
        path = str(support.scratch_dir() / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(120)
            began = time.monotonic()
            self.process = subprocess.Popen(
                [_PYBINDD, "--cgroup", cgroup], env={**ENVIRON, "NOTIFY_SOCKET": path},
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            while b"READY=1" not in notify.recv(4096):
                pass
        self.cgroup, self.start_s = cgroup, time.monotonic() - began

    def resident(self) -> int:
        """Return the resident memory of the process in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10


@contextlib.contextmanager
def pybindd() -> Iterator[Pybindd]:
    """Run a pybindd that serves a new control group."""
    cgroup = pathlib.Path(tempfile.mkdtemp(prefix="pybind-bench-", dir=find_cgroup()))
    try:
        running = Pybindd(cgroup)
        try:
            yield running
        finally:
            running.process.terminate()
            running.process.wait()
    finally:
        while (cgroup / "cgroup.procs").read_text():
            time.sleep(0.01)
        cgroup.rmdir()


def entering(cgroup: pathlib.Path | None) -> Callable[[], None]:
    """Return a function that a new process calls to enter the control group, if there is one."""

    def enter() -> None:
        if cgroup:
            (cgroup / "cgroup.procs").write_text("0")

    return enter


def as_nobody(function: Callable[[], Any]) -> Any:
    """Return the result of `function` in a child process that has become nobody for good."""

    def child(end: Any) -> None:
        os.setgroups([])
        os.setresgid(support.GID, support.GID, support.GID)
        os.setresuid(support.UID, support.UID, support.UID)
        end.send(function())

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(theirs,))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


@contextlib.contextmanager
def off_the_overlay() -> Iterator[list[str]]:
    """Put pybind's files on a plain file system like authbind's, not on tools/sandbox's overlay.

    An exec through an overlay costs the helper some microseconds that no installed pybind
    pays. So copies in build/ are mounted over the installed files. Yields notes for the
    reader: none, or why this was not possible.
    """
    copies = ROOT / "build" / "bench"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True)
    prefix = pathlib.Path(support.PREFIX)
    mounted = []
    try:
        if os.statvfs(copies).f_flag & os.ST_NOSUID:
            yield [f"pybind is on an overlay mount: {copies.name}/ is on a nosuid file system"]
            return
        for name in _INSTALLED:
            source, copy = prefix / name, copies / name
            copy.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy)  # keeps the times, by which bytecode is checked
            else:
                shutil.copy2(source, copy)
        helper = copies / "libexec/pybind/pybind-helper"
        subprocess.run(["setcap", "cap_net_bind_service=p", helper], check=True)
        for name in _INSTALLED:
            subprocess.run(["mount", "--bind", copies / name, prefix / name], check=True)
            mounted.append(prefix / name)
        same = os.stat(support.HELPER).st_dev == os.stat("/usr/lib/authbind/helper").st_dev
        yield [] if same else ["pybind and authbind are on different file systems"]
    finally:
        for path in mounted:
            subprocess.run(["umount", "--lazy", path], check=False)
        shutil.rmtree(copies, ignore_errors=True)


def facts() -> dict[str, Any]:
    """Return kernel, processors, memory, load, versions and the date (UTC)."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "cpu": model.group(1) if model else "unknown",
        "virtual": "hypervisor" in cpuinfo,
        "memory_gib": round(memory()["MemTotal"] / 2**30, 1),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "system": platform.freedesktop_os_release()["PRETTY_NAME"]
        if hasattr(platform, "freedesktop_os_release")
        else "unknown",
        "versions": {
            "pybind": pybind.__version__,
            "python": platform.python_version(),
            **{package: _version(package) for package in _PACKAGES},
        },
    }


def memory() -> dict[str, int]:
    """Return /proc/meminfo, in bytes."""
    text = pathlib.Path("/proc/meminfo").read_text()
    return {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}


def _version(package: str) -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout if found.returncode == 0 else "not installed"
