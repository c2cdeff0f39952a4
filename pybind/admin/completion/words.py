# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be completed: commands, with their options and arguments (leaf)."""

from __future__ import annotations

from typing import NamedTuple


class OptionWords(NamedTuple):
    """One option: its names, its help, and what its value is ("" for a flag)."""

    names: tuple[str, ...]
    help: str
    kind: str


class Command(NamedTuple):
    """One command: its words after pybindctl, options, kinds of its arguments, and below it.

    kinds: user, who, file, folder, port, program, any, or choice:ONE|OTHER.
    repeats: the last kind may come again.
    """

    words: tuple[str, ...]
    help: str
    options: tuple[OptionWords, ...]
    arguments: tuple[str, ...]
    repeats: bool
    below: tuple[str, ...]
