# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of pybindd."""

import contextlib
import ctypes
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


class Others:
    """The programs of other tools (src/other.bpf.c), compiled and loaded."""

    def __init__(self):
        binary = support.scratch_dir() / "other.bpf.o"
        include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
        command = ["clang", "-target", "bpf", "-O2", "-g", include, "-c", "-o", binary, OTHERS]
        subprocess.run(command, check=True)
        self._libbpf = Libbpf()
        self._handle = self._libbpf.open_and_load(str(binary))

    @contextlib.contextmanager
    def attached(self, name, cgroup):
        """Attach a program to a control group for a while."""
        fd = os.open(cgroup, os.O_RDONLY)
        link = self._libbpf.attach(self._handle, name, fd)
        try:
            yield
        finally:
            self._libbpf.detach(link)
            os.close(fd)

    def program(self, name):
        """Return the descriptor of a program, which libbpf owns."""
        library = ctypes.CDLL("libbpf.so.1")
        library.bpf_object__find_program_by_name.restype = ctypes.c_void_p
        found = library.bpf_object__find_program_by_name(
            ctypes.c_void_p(self._handle), name.encode()
        )
        return library.bpf_program__fd(ctypes.c_void_p(found))


@pytest.fixture(scope="module")
def others():
    """Return the programs of other tools."""
    return Others()
