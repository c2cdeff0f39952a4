# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl completion: prints the scripts that complete pybindctl and pybind.

The words come from the commands themselves, so that no script is out of date. admin/completion.py
writes them for each shell.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from ... import commandline
from .. import output
from ..completion import Command, OptionWords, bash, fish, zsh

# The metavar that --help shows -> the kind of the value.
_KINDS = {
    "USER": "user",
    "USER[:GROUP]": "user",
    "WHO": "who",
    "FILE": "file",
    "DIR": "folder",
    "PORT": "port",
    "SPEC": "port",
    "[ADDR:]PORT[/PROTO]": "port",
    "[NAME=][ADDR:]PORT[/PROTO]": "port",
    "-- PROGRAM": "program",
}
_SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> int:
    r"""Print the completion of pybindctl and pybind for a shell.

    \b
    bash: source <(pybindctl completion bash)
    zsh:  source <(pybindctl completion zsh)     (after compinit)
    fish: pybindctl completion fish | source
    """
    commands = list(_commands((), ctx.find_root().command, ctx.find_root()))
    runner = _describe(("pybind",), commandline.command, ctx)
    output.say_text(_SHELLS[shell](commands, runner))
    return 0


def _commands(
    words: tuple[str, ...], command: click.Command, ctx: click.Context
) -> Iterator[Command]:
    yield _describe(words, command, ctx)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                yield from _commands((*words, name), below, click.Context(below, ctx, name))


def _describe(words: tuple[str, ...], command: click.Command, ctx: click.Context) -> Command:
    options, arguments, repeats = [], [], False
    for param in command.get_params(click.Context(command, ctx, help_option_names=["--help"])):
        if isinstance(param, click.Option):
            kind = "" if param.is_flag else _kind(param)
            # click 8.1.8 to 8.4 keeps the first context's help option, whose names have no order.
            helps = "--help" in param.opts
            names = ("--help",) if helps else (*param.opts, *param.secondary_opts)
            options.append(OptionWords(names, param.help or "", kind))
        else:
            arguments.append(_kind(param))
            repeats = param.nargs == -1
    below: tuple[str, ...] = ()
    if isinstance(command, click.Group):
        below = tuple(command.list_commands(ctx))
    help_text = command.get_short_help_str(200).rstrip(".")
    return Command(words, help_text, tuple(options), tuple(arguments), repeats, below)


def _kind(param: click.Parameter) -> str:
    if isinstance(param.type, click.Choice):
        return "choice:" + "|".join(map(str, param.type.choices))
    metavar = param.metavar or param.type.name
    if metavar in _KINDS:
        return _KINDS[metavar]
    return _KINDS.get(metavar.removesuffix("...").strip("[]"), "any")
