# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups for tests, so that pybindd under test judges no other process."""

import contextlib
import functools
import pathlib
import subprocess
import tempfile

import pytest
import support

PYBINDD = support.PREFIX + "/sbin/pybindd"


def root():
    """Return the root of the unified hierarchy; skip if there is none."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return pathlib.Path(line.split()[4])
    pytest.skip("this system makes no control groups of version 2")


@functools.lru_cache(maxsize=1)
def able():
    """Skip if pybindd cannot run, with pybindd's own reason."""
    done = subprocess.run([PYBINDD, "--trial", "--cgroup", root()], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this kernel cannot judge binds: {done.stderr.splitlines()[0]}")


@contextlib.contextmanager
def group():
    """Yield a new control group; afterwards end its processes and remove it."""
    able()
    # Not named by a PID: another sandbox has the same PIDs.
    path = pathlib.Path(tempfile.mkdtemp(prefix="pybind-test-", dir=root()))
    path.chmod(0o755)
    try:
        yield path
    finally:
        remove(path)


def remove(path):
    """End the processes of a control group, and remove the group."""
    for below in [*path.rglob("cgroup.procs"), path / "cgroup.procs"]:
        with contextlib.suppress(OSError):
            (below.parent / "cgroup.kill").write_text("1")
    for below in sorted((p.parent for p in path.rglob("cgroup.procs")), reverse=True):
        empty = lambda below=below: not (below / "cgroup.procs").read_text()  # noqa: E731
        support.wait_for(empty, f"{below} is empty")
        below.rmdir()
