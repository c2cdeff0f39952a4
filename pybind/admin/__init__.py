# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl: for administrators. One file for each group of commands.

Decisions always come from the helper's check request (ask.py); nothing here
is a second implementation of the rules.
"""
