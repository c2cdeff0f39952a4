# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of the permission files: planned in memory, shown, written."""
