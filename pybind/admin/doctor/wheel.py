# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl setup from a wheel: builds and installs the parts that a wheel cannot have.

A wheel has the C sources and the Makefile beside the package, in source/, and no
binaries. The path of the interpreter is compiled into bin/pybind, and is unknown when the
wheel is made. Also, root should be able to read the source of a file that gets a
capability. Like `make install`, setup installs a copy outside the virtual environment;
only the interpreter and click are used from the environment.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pybind

from ... import trust
from ...paths import HELPER, PREFIX
from ...permissions.errors import Failed
from . import installation

_PACKAGE = os.path.dirname(os.path.abspath(pybind.__file__))
SOURCE = _PACKAGE + "/source"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # root's tools, whatever the caller's PATH
_LINES_SHOWN = 5


def is_one() -> bool:
    """Tell whether this package is in a wheel; not in the copy that was installed from one."""
    return os.path.exists(SOURCE + "/Makefile")


def install(trusted: bool) -> Iterator[str]:
    """Build and install everything but the capability; yields what was done.

    trusted: the administrator says that nobody else could change this environment.
    Raises Failed, before anything is installed.
    """
    for tool, package in (("make", "make"), ("cc", "gcc libc6-dev")):
        if shutil.which(tool, path=_PATH) is None:
            raise Failed(
                f"{tool} is missing, and the helper is built here: a wheel has its source only",
                f"to install it: sudo apt-get install {package}",
                "or use the Debian package, which needs no compiler",
            )
    for finding in installation.python():
        if finding.level == installation.BROKEN:
            raise Failed(finding.text, *finding.repair)
    if not trusted:
        _refuse_a_strangers_environment()
    with tempfile.TemporaryDirectory() as folder:
        tree = folder + "/source"
        shutil.copytree(SOURCE, tree)
        shutil.copytree(
            _PACKAGE, tree + "/pybind", ignore=shutil.ignore_patterns("source", "__pycache__")
        )
        _make(tree, "all")
        if os.path.lexists(HELPER):
            status = os.lstat(HELPER)
            # Takes the capability off what a descriptor may be kept on; see the Makefile.
            os.chown(HELPER, status.st_uid, status.st_gid, follow_symlinks=False)
        _make(tree, "install")
    yield f"installed below {PREFIX}: bin/pybind, bin/pybindctl, and what they need"
    yield f"they run {sys.executable}, so keep that; to remove them: sudo make -C {SOURCE} uninstall"


def _make(tree: str, target: str) -> None:
    """Run make; with DESTDIR=/ it leaves the capability to setup, which needs no setcap."""
    settings = [
        f"PREFIX={PREFIX}",
        f"PYTHON={sys.executable}",
        "WERROR=",
        "DESTDIR=/",
        f"REINSTALL={sys.prefix}/bin/pybindctl setup",
    ]
    # -o: the times of unpacked files say nothing about which was made from which.
    done = subprocess.run(
        ["make", "-C", tree, "-o", "pybind/_wire.py", target, *settings],
        check=False,
        env={"PATH": _PATH, "LC_ALL": "C"},
        umask=0o022,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        said = [line for line in done.stdout.splitlines() if line.strip()]
        raise Failed(f"make {target} failed, and its last words are:", *said[-_LINES_SHOWN:])


def _refuse_a_strangers_environment() -> None:
    """Have no user's `pybind`, nor root's `pybindctl`, run what somebody else can write."""
    for path in (sys.executable, _PACKAGE):
        part = trust.changeable(path)
        if part:
            status = os.lstat(part)
            mode = stat.S_IMODE(status.st_mode)
            raise Failed(
                f"{part} has owner {status.st_uid}, mode {mode:04o}: others could replace "
                "what every user's pybind would run",
                "make the environment as root: sudo python3 -m venv /opt/pybind",
                f"or, if you are sure of it: {installation.ANEW} --yes",
            )
