# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed paths (leaf); `make install` writes its own first three here."""

from __future__ import annotations

import sys


def _reinstall() -> str:
    """Return what installs pybind, where nothing did: a wheel has its source beside this file."""
    try:
        with open(__file__.rpartition("/")[0] + "/source/Makefile", "rb"):
            return sys.prefix + "/bin/pybindctl setup"
    except OSError:
        return "make install"


PREFIX = "/usr/local"
CONFIG_DIR = "/etc/pybind"
REINSTALL = _reinstall()  # after sudo; the installed copy says in which folder

FOLDERS = ("byport", "byaddr", "byuser", "bygroup")  # of CONFIG_DIR, as the helper asks them
HELPER = PREFIX + "/libexec/pybind/pybind-helper"
STARTERS = (PREFIX + "/bin/pybind", PREFIX + "/bin/authbind")
PYBINDCTL = PREFIX + "/bin/pybindctl"
LIBRARY = PREFIX + "/lib/pybind/libpybind.so"

BPF_OBJECT = PREFIX + "/lib/pybind/pybind.bpf.o"  # what pybindd loads into the kernel
PYBINDD_SOCKET = "/run/pybindd.sock"  # root's; pybindd.py speaks to it
PYBINDD_STATUS = "/run/pybindd.json"  # for everybody to read
PYBINDD_LOCK = "/run/pybindd.lock"
