# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed paths (leaf: imports only what `make install` wrote)."""

from ._build import CONFIG_DIR, PREFIX

HELPER = PREFIX + "/libexec/pybind/pybind-helper"
LIBRARY = PREFIX + "/lib/pybind/libpybind.so"

__all__ = ["CONFIG_DIR", "HELPER", "LIBRARY"]
