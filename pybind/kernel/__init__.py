# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindd: keeps the kernel's own table equal to the permission files (pybindd(8)).

`pybind/pybindd.py` is how everything else asks it; nothing imports this package.
"""
