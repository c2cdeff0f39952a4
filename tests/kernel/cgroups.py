# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups for tests, so that a pybindd under test judges only the tests' processes."""

import contextlib
import functools
import pathlib
import subprocess
import tempfile

import pytest
import support

PYBINDD = support.PREFIX + "/sbin/pybindd"


def root():
    """Return the mount point of control groups of version 2; skip the test if there is none."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return pathlib.Path(line.split()[4])
    pytest.skip("this system makes no control groups of version 2")


@functools.lru_cache(maxsize=1)
def able():
    """Skip the test, with pybindd's own reason, if pybindd cannot run."""
    done = subprocess.run([PYBINDD, "--trial", "--cgroup", root()], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this kernel cannot judge binds: {done.stderr.splitlines()[0]}")


@contextlib.contextmanager
def group():
    """Yield a new control group; afterwards end its processes and remove the group."""
    able()
    # No PID in the name: other sandboxes have the same PIDs, and share the hierarchy.
    path = pathlib.Path(tempfile.mkdtemp(prefix="pybind-test-", dir=root()))
    path.chmod(0o755)
    try:
        yield path
    finally:
        remove(path)


def remove(path):
    """End the processes of a control group and of the groups below; remove all these groups."""
    for below in [*path.rglob("cgroup.procs"), path / "cgroup.procs"]:
        with contextlib.suppress(OSError):
            (below.parent / "cgroup.kill").write_text("1")
    for below in sorted((p.parent for p in path.rglob("cgroup.procs")), reverse=True):
        empty = lambda below=below: not (below / "cgroup.procs").read_text()  # noqa: E731
        support.wait_for(empty, f"{below} to be empty")
        below.rmdir()
