# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper asked as somebody, and what is made of its answers."""
