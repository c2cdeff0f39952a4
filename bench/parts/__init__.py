# SPDX-License-Identifier: GPL-3.0-or-later
"""The measurements: each module has run(rounds), which returns an Outcome."""
