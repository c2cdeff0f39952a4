# SPDX-License-Identifier: GPL-3.0-or-later
"""The permission files as they shall be: planned, compared, written."""
