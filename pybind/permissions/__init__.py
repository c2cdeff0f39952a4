# SPDX-License-Identifier: GPL-3.0-or-later
"""What the permission files mean (pybind(5)), and how they are changed; asks nobody."""
