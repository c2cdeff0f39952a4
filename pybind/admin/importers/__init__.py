# SPDX-License-Identifier: GPL-3.0-or-later
"""`pybindctl import`: reads grants of other programs, plans them here, proves the result."""
