# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of `pybindctl doctor`, and the build of `pybindctl setup`."""
