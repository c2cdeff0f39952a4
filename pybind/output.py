# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what pybind has to say before the program starts (leaf)."""

from __future__ import annotations

import sys


def say(*lines: str, name: str = "pybind") -> None:
    """Write lines to standard error, each with the name of the command."""
    for line in lines:
        print(f"{name}: {line}", file=sys.stderr, flush=True)


def note(*lines: str, quiet: bool) -> None:
    """Say what is no error, unless --quiet."""
    if not quiet:
        say("note: " + lines[0], *lines[1:])


def answer(line: str) -> None:
    """Write what --check found out to standard output."""
    print(line, flush=True)
