# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of whole programs share: needed programs, sources, the command."""

import os
import pathlib
import shutil
import subprocess

import support

SRC = support.REPOSITORY / "tests/programs/src"


def under_pybind(*program, ports=("80",)):
    """Return the argv that runs PROGRAM with the listed ports.

    PYBIND_TEST_PRELOAD=1 leaves the command out, which tells a fault of the
    library or the helper from one of the command.
    """
    program = [str(word) for word in program]
    if os.environ.get("PYBIND_TEST_PRELOAD"):
        return ["/usr/bin/env", "LD_PRELOAD=" + support.LIBRARY, *program]
    listed = [word for port in ports for word in ("--port", port)]
    return [support.PYBIND, *listed, "--", *program]


def need(program, package):
    """Return PROGRAM's path. If it is missing, fail the test and name its package."""
    path = shutil.which(program)
    assert path, f"{program} is missing: apt-get install {package}"
    return path


def copy_source(name, folder):
    """Copy src/NAME to where UID can read it; returns the copy's path."""
    path = folder / name
    shutil.copyfile(SRC / name, path)
    path.chmod(0o644)
    return path


def build(name, *flags, compiler="gcc", package="gcc"):
    """Compile src/NAME; returns the path of a binary that UID can run."""
    need(compiler, package)
    folder = support.scratch_dir()
    binary = folder / pathlib.Path(name).stem
    subprocess.run(
        [compiler, "-O1", "-g", "-Wall", "-o", binary, SRC / name, "-pthread", *flags], check=True
    )
    return binary


def build_library(name):
    """Compile src/NAME as a shared library; returns its path."""
    return build(name, "-shared", "-fPIC", "-ldl")


def run_granted(*program, **options):
    """Run PROGRAM under pybind to its end; fails unless its status is 0."""
    ports = options.pop("ports", ("80",))
    result = support.run(under_pybind(*program, ports=ports), **options)
    assert result.returncode == 0, f"status {result.returncode}\n{result.stdout}{result.stderr}"
    return result
