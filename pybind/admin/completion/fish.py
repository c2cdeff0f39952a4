# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the completion script for fish."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .words import Command, OptionWords

_FISH_VALUES = {
    "user": "(__fish_complete_users)",
    "who": "everyone (__fish_complete_users) (__fish_print_groups | string replace -r '^' @)",
    "port": "(string match -rg '^([a-z][a-z0-9-]*)\\s' </etc/services)",
    "folder": "(__fish_complete_directories)",
    "program": "(__fish_complete_command)",
}


def fish(commands: Sequence[Command], runner: Command) -> str:
    """Return the script for fish."""
    lines = ["# pybind and pybindctl in fish: pybindctl completion fish | source", ""]
    lines += ["complete -c pybind " + _fish_option(option) for option in runner.options]
    valued = " ".join(name for option in runner.options if option.kind for name in option.names)
    lines.append(f"complete -c pybind -x -a '(__fish_complete_subcommand -- {valued})'")
    lines += ["", "complete -c pybindctl -f"]
    for command in commands:
        lines += _fish_command(command, commands)
    return "\n".join(lines)


def _fish_quote(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def _fish_option(option: OptionWords) -> str:
    words = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    ]
    if option.kind:
        words.append("-r" if option.kind == "file" else "-x")
        words.append(_fish_values(option.kind))
    return " ".join([*filter(None, words), "-d", _fish_quote(option.help)])


def _fish_values(kind: str) -> str:
    if kind.startswith("choice:"):
        return "-a " + _fish_quote(kind.partition(":")[2].replace("|", " "))
    return "-a " + _fish_quote(_FISH_VALUES[kind]) if kind in _FISH_VALUES else ""


def _fish_command(command: Command, commands: Sequence[Command]) -> Iterator[str]:
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words)
    if command.below:
        unseen = f"not __fish_seen_subcommand_from {' '.join(command.below)}"
        seen = f"{seen}; and {unseen}" if seen else unseen
    head = f"complete -c pybindctl -n {_fish_quote(seen)}"
    for option in command.options:
        yield f"{head} {_fish_option(option)}"
    for other in commands:
        if other.words and other.words[:-1] == command.words:
            yield f"{head} -a {other.words[-1]} -d {_fish_quote(other.help)}"
    for kind in dict.fromkeys(command.arguments):
        if kind == "file":
            yield f"{head} -F"
        elif kind != "any":
            yield f"{head} {_fish_values(kind)}"
