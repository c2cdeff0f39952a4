# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes of a refusal that the tests' machine does not have: stand-ins play them."""

import errno
import os
import types

import pytest

from pybind import diagnose
from pybind.paths import HELPER


@pytest.fixture
def system(monkeypatch):
    """Replace this system by one on which nothing is wrong with the helper."""
    mount = types.SimpleNamespace(f_flag=0)
    found = types.SimpleNamespace(
        ST_NOSUID=os.ST_NOSUID, ST_NOEXEC=os.ST_NOEXEC, X_OK=os.X_OK, strerror=os.strerror,
        statvfs=lambda _: mount, access=lambda *_: True, getxattr=lambda *_: b"x",
    )  # fmt: skip
    monkeypatch.setattr(diagnose, "posix", found)
    monkeypatch.setattr(diagnose, "own_status", lambda: {"CapBnd": "ffffffff"})
    monkeypatch.setattr(diagnose, "foreign_network", lambda: False)
    monkeypatch.setattr(diagnose, "replaceable", lambda _: "")


def test_kernel_without_file_capabilities(monkeypatch, system):
    """The message names no_file_caps on the kernel's command line."""
    monkeypatch.setattr(diagnose, "_read", lambda _: "BOOT_IMAGE=/vmlinuz quiet no_file_caps\n")
    cause, repair = diagnose.lost_capability()
    assert "no_file_caps" in cause
    assert "command line" in repair
    monkeypatch.setattr(diagnose, "_read", lambda _: "BOOT_IMAGE=/vmlinuz quiet\n")
    assert "none of the known causes" in diagnose.lost_capability()[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.ENOENT, "install"),
        (errno.EAGAIN, "ulimit -u"),
        (errno.ENOMEM, "ulimit -u"),
        (errno.EACCES, "NoExecPaths="),
        (errno.EIO, "Input/output error"),
    ],
)
def test_why_the_helper_cannot_be_started(system, error, words):
    """Only a missing helper is a reason to install one."""
    lines = diagnose.cannot_start(error)
    assert lines[0].startswith(f"cannot start {HELPER}: {os.strerror(error)}")
    assert words in " ".join(lines)
    assert (error == errno.ENOENT) == ("install" in " ".join(lines))
