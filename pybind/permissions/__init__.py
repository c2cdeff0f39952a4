# SPDX-License-Identifier: GPL-3.0-or-later
"""What the permission files mean (pybind(5)), and how to change them.

No module here asks the helper or prints anything.
"""
