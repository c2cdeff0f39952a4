# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that are common to commands that change grants."""
