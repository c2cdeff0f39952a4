# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed paths (leaf). `make install` changes PREFIX, CONFIG_DIR and REINSTALL."""

from __future__ import annotations

import sys


def _reinstall() -> str:
    """Return the command that installs pybind; a wheel has its source beside this file."""
    try:
        with open(__file__.rpartition("/")[0] + "/source/Makefile", "rb"):
            return sys.prefix + "/bin/pybindctl setup"
    except OSError:
        return "make install"


PREFIX = "/usr/local"
CONFIG_DIR = "/etc/pybind"
REINSTALL = _reinstall()  # to type after sudo; `make install` adds the folder of the source

FOLDERS = ("byport", "byaddr", "byuser", "bygroup")  # in CONFIG_DIR, in the helper's order
HELPER = PREFIX + "/libexec/pybind/pybind-helper"
STARTERS = (PREFIX + "/bin/pybind", PREFIX + "/bin/authbind")
PYBINDCTL = PREFIX + "/bin/pybindctl"
LIBRARY = PREFIX + "/lib/pybind/libpybind.so"

BPF_OBJECT = PREFIX + "/lib/pybind/pybind.bpf.o"  # what pybindd loads into the kernel
PYBINDD_SOCKET = "/run/pybindd.sock"  # for root only; pybindd.py connects to it
PYBINDD_STATUS = "/run/pybindd.json"  # everybody can read it
PYBINDD_LOCK = "/run/pybindd.lock"
