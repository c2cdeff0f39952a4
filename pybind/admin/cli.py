# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl: the group of its commands; turns every error into text and exit status."""

from __future__ import annotations

import importlib
import os
import sys

import click

from .. import __version__
from ..errors import HelperUnusable, PybindError
from ..permissions.errors import STATUS_NO, STATUS_USAGE, AdminError, NeedsRoot
from ..repairs import is_typeable, sudo
from . import output

# Command -> its module in commands/, whose click command is called COMMAND_command.
COMMANDS = {
    "grant": "grant",
    "revoke": "revoke",
    "list": "list",
    "lint": "lint",
    "check": "check",
    "explain": "explain",
    "apply": "apply",
    "export": "apply",
    "status": "status",
    "log": "log",
    "doctor": "doctor",
    "setup": "doctor",
    "import": "import_",
    "completion": "completion",
}

_TELLING = ("list", "status", "export", "completion")  # commands whose output is the answer


class _Lazy(click.Group):
    """A group that imports a command's module only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".commands.{COMMANDS[cmd_name]}", __package__)
        command: click.Command = getattr(module, cmd_name + "_command")
        return command


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def _group() -> None:
    """Grant privileged ports to users, and see, explain and repair the grants.

    Changes need root, questions do not. Exit status: 0 yes or done, 1 no,
    2 usage, 3 invalid rules or input, 4 needs root.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    A lost standard output does not change the status, unless the output is the answer:
    then the status is 1.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with output.forgiving() as out:
        status = _run(arguments or ["--help"])
        out.flush()
        if out.is_lost and out.error:
            _say(f"standard output: {out.error.strerror}")
            if "--json" in arguments or (arguments[:1] and arguments[0] in _TELLING):
                status = status or STATUS_NO
    return status


def _run(arguments: list[str]) -> int:
    try:
        result = _group.main(arguments, prog_name="pybindctl", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "pybindctl"
        _say(error.format_message(), f"see: {command} --help")
        return STATUS_USAGE
    except click.exceptions.Abort:
        _say("not done")
        return STATUS_NO
    except HelperUnusable as error:
        _say(*error.lines)
        return STATUS_NO
    except NeedsRoot as error:
        _say(*error.lines, f"as an administrator: {_with_sudo(arguments)}")
        return error.status
    except PybindError as error:
        _say(*error.lines)
        return error.status if isinstance(error, AdminError) else STATUS_USAGE
    except OSError as error:
        named = isinstance(error.filename, (str, bytes))  # it may be a descriptor's number
        where = os.fsdecode(error.filename) if named else "a system call failed"
        _say(f"{where}: {error.strerror or error}")
        return STATUS_NO
    return result if isinstance(result, int) else 0


def _with_sudo(arguments: list[str]) -> str:
    """Return the command that was typed, with sudo before it; nothing of it that cannot be typed."""
    if all(map(is_typeable, arguments)):
        return sudo(("pybindctl", *arguments))
    return "the same with sudo before it"


def _say(*lines: str) -> None:
    for at, line in enumerate(lines):
        word = line.partition(": ")[0]
        if word in output.WORDS:
            output.tell(word, line)
        elif at == 0:
            output.complain(line)
        else:  # it may be a command
            click.echo(f"pybindctl: {output.plain(line)}", err=True)
