# SPDX-License-Identifier: GPL-3.0-or-later
"""pybind: a granted privileged port for an ordinary user's program."""

__version__ = "0.1.0"
