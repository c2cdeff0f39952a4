# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of pybindd."""

import contextlib
import os
import pathlib
import subprocess

import pytest
import running
import support
from support import flag

from pybind.kernel.bpf import Libbpf

OTHERS = pathlib.Path(__file__).with_name("src") / "other.bpf.c"


@pytest.fixture
def daemon():
    """Run a pybindd that serves a control group of its own."""
    with running.pybindd() as started:
        yield started


@pytest.fixture
def user(daemon):
    """Yield a process of an ordinary user in that group."""
    with running.worker(daemon.cgroup) as made:
        yield made


@pytest.fixture
def granted(daemon, user):
    """Let the user bind port 80."""
    flag("byport/80")
    daemon.sync()
    assert user.may()
    return user


@pytest.fixture(scope="module")
def others():
    """Compile and load programs of other tools; return a function that attaches one."""
    binary = support.scratch_dir() / "other.bpf.o"
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang", "-target", "bpf", "-O2", "-g", include, "-c", "-o", binary, OTHERS]
    subprocess.run(command, check=True)
    libbpf = Libbpf()
    handle = libbpf.open_and_load(str(binary))

    @contextlib.contextmanager
    def attached(name, cgroup):
        fd = os.open(cgroup, os.O_RDONLY)
        link = libbpf.attach(handle, name, fd)
        try:
            yield
        finally:
            libbpf.detach(link)
            os.close(fd)

    return attached
