# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that `pybindctl completion` prints."""
