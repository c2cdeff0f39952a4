# SPDX-License-Identifier: GPL-3.0-or-later
"""Where `pybindctl import` takes grants over from."""
