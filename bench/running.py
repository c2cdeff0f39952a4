# SPDX-License-Identifier: GPL-3.0-or-later
"""A pybindd that runs while something is measured, in a control group of its own."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Callable

import support

from bench import world
from pybind.kernel.obstacles import find_cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

_PYBINDD = support.PREFIX + "/sbin/pybindd"


class Pybindd:
    """A running pybindd: its control group, its process, the seconds until it was ready."""

    def __init__(self, cgroup: pathlib.Path) -> None:
        path = str(support.scratch_dir() / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(120)
            began = time.monotonic()
            self.process = subprocess.Popen(
                [_PYBINDD, "--cgroup", cgroup], env={**world.ENVIRON, "NOTIFY_SOCKET": path},
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
