# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindd: keeps a table in the kernel equal to the permission files (pybindd(8)).

Nothing else imports this package: pybind/pybindd.py asks the running daemon.
"""
