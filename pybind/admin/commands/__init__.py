# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of pybindctl: a file has the name that is typed."""
