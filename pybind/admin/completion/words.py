# SPDX-License-Identifier: GPL-3.0-or-later
"""The words to complete: commands, with their options and arguments (leaf)."""

from __future__ import annotations

from typing import NamedTuple


class OptionWords(NamedTuple):
    """One option. kind: the kind of its value, as in Command; "" for a flag."""

    names: tuple[str, ...]
    help: str
    kind: str


class Command(NamedTuple):
    """One command.

    words: after pybindctl. arguments: the kind of each: user, who, file, folder, port,
    program, any, or choice:ONE|OTHER. repeats: the last argument may be repeated. below:
    the names of its subcommands.
    """

    words: tuple[str, ...]
    help: str
    options: tuple[OptionWords, ...]
    arguments: tuple[str, ...]
    repeats: bool
    below: tuple[str, ...]
