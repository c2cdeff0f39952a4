# SPDX-License-Identifier: GPL-3.0-or-later
"""What `pybindctl doctor` looks at, and what `pybindctl setup` repairs."""
