# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the completion script for zsh."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .words import Command, OptionWords

_ZSH_ACTIONS = {
    "user": "_users",
    "who": "_pybind_who",
    "port": "_ports",
    "file": "_files",
    "folder": "_files -/",
    "program": "_command_names -e",
    "any": " ",
}


def zsh(commands: Sequence[Command], runner: Command) -> str:
    """Return the script for zsh."""
    lines = [
        "#compdef pybind pybindctl",
        "# pybind and pybindctl in zsh: source <(pybindctl completion zsh), after compinit",
        "",
        "_pybind_who() {",
        "    local -a groups=(@${(k)^$(cut -d: -f1 /etc/group)})",
        "    _alternative 'users:user:_users' 'groups:group:compadd -a groups' \\",
        "        'everyone:everyone:(everyone)'",
        "}",
        "",
        "_pybind() {",
        *_zsh_arguments([*map(_zsh_option, runner.options)], "-S"),
        "        '(-):program:_command_names -e' \\",
        "        '*::argument:_normal'",
        "}",
        "",
    ]
    for command in commands:
        lines += _zsh_function(command, commands)
    lines += ["compdef _pybind pybind", "compdef _pybindctl pybindctl"]
    return "\n".join(lines)


def _zsh_arguments(specs: Sequence[str], flags: str = "") -> list[str]:
    head = f"    _arguments {flags}".rstrip() + " : \\"
    return [head, *(f"        {spec} \\" for spec in specs)]


def _zsh_text(text: str) -> str:
    """Return a help text, quoted for a spec of _arguments in single quotes."""
    for char in "\\[]:":
        text = text.replace(char, "\\" + char)
    return text.replace("'", "'\\''")


def _zsh_action(kind: str) -> str:
    if kind.startswith("choice:"):
        return f"({kind.partition(':')[2].replace('|', ' ')})"
    return _ZSH_ACTIONS[kind]


def _zsh_option(option: OptionWords) -> str:
    value = f":value:{_zsh_action(option.kind)}" if option.kind else ""
    names = "{" + ",".join(option.names) + "}" if len(option.names) > 1 else option.names[0]
    return f"'*'{names}'[{_zsh_text(option.help)}]{value}'"


def _zsh_function(command: Command, commands: Sequence[Command]) -> list[str]:
    name = "_".join(("_pybindctl", *command.words))
    lines = [f"{name}() {{"]
    options = list(map(_zsh_option, command.options))
    if not command.below:
        for at, kind in enumerate(command.arguments):
            many = command.repeats and at == len(command.arguments) - 1
            options.append(f"'{'*' if many else at + 1}:argument:{_zsh_action(kind)}'")
        lines += _zsh_arguments(options)
        return [*lines, "        && return", "}", ""]
    helps = {c.words[-1]: c.help for c in commands if c.words[:-1] == command.words and c.words}
    choices = " ".join(f'{below}\\:"{_zsh_choice(helps[below])}"' for below in command.below)
    lines.append("    local curcontext=$curcontext state line")
    lines += _zsh_arguments([*options, f"'1:command:(({choices}))'"], "-C")
    lines += ["        '*::argument:->rest' && return", "    case $line[1] in"]
    lines += [f"    {below}) {name}_{below} ;;" for below in command.below]
    return [*lines, "    esac", "}", ""]


def _zsh_choice(text: str) -> str:
    return (
        _zsh_text(text).replace('"', "").replace("\\:", "\\\\:").replace("(", "").replace(")", "")
    )
