# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the helper as some user, and puts its answers into words."""
