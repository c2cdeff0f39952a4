# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: each module has run(rounds), which returns an Outcome."""
