# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands share that change grants."""
