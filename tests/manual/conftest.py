# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that change the installation inside the sandbox, and install pybind again afterwards."""

import subprocess

import pytest
import support
from support import HELPER, REPOSITORY


def run_make(target):
    """Run make TARGET as root, such as `install` over an installation in use."""
    subprocess.run(["make", "-s", target], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def install_other_version():
    """Install a helper of another version, whose reply has another length and order."""
    folder = support.scratch_dir()
    header = (REPOSITORY / "helpers/protocol.h").read_text()
    changed = header.replace("#define PB_VERSION 1\n", "#define PB_VERSION 2\n").replace(
        "    int32_t error;   /*", "    uint64_t more;\n    int32_t error;   /*"
    )
    assert len(changed) > len(header)
    (folder / "protocol.h").write_text(changed)
    (folder / "helper").mkdir()
    for source in (REPOSITORY / "helpers/helper").iterdir():
        (folder / "helper" / source.name).write_text(source.read_text())
    sources = sorted((folder / "helper").glob("*.c"))
    flags = ["-std=c11", "-D_GNU_SOURCE", "-static", '-DCONFIG_DIR="/etc/pybind"']
    subprocess.run(["gcc", *flags, "-o", folder / "new", *sources], check=True)
    subprocess.run(["install", "-m", "0755", folder / "new", HELPER], check=True)
    subprocess.run(["setcap", "cap_net_bind_service=p", HELPER], check=True)


@pytest.fixture
def make():
    """Return a function that runs make TARGET as root; install pybind again after the test."""
    yield run_make
    run_make("install")


@pytest.fixture
def installed(make):
    """Install pybind again after the test."""


@pytest.fixture
def other_version(installed):
    """Return a function that installs a helper of another version."""
    return install_other_version
