# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots real systems in virtual machines, and runs jobs in them with the package installed."""
