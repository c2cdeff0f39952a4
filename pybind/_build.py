# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things were installed; `make install` writes its own copy of this file."""

PREFIX = "/usr/local"
CONFIG_DIR = "/etc/pybind"
