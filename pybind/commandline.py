# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line by click: --help, errors, and every spelling of an option.

Only used when options.read() does not understand the command line, because click
takes longer to import than pybind takes to start a program.
"""

from __future__ import annotations

import click

from . import __version__
from .errors import UsageError
from .model import Listed, Request
from .options import (
    CHOICE,
    COUNT,
    COUNT_MAX,
    FLAG,
    OPTIONS,
    PORTS,
    TEXT,
    Option,
    is_count,
    request_of,
)
from .ports import parse_named

_HELP = """Run PROGRAM, an ordinary program, as an ordinary user on a privileged port that an
administrator granted. First the administrator, then the user alice:

\b
    sudo pybindctl grant alice 80
    pybind --port 80 -- java -jar app.jar

Without --port, PROGRAM can bind every port that the files grant. With --port it can
bind only the listed ports, and pybind tries each of them before PROGRAM starts.

Exit status: PROGRAM's own; 125 pybind refused, 126 PROGRAM cannot be executed,
127 there is no such PROGRAM.

If a bind fails all the same: -v, pybindctl doctor, pybind-troubleshooting(7)."""


class _Port(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic since 8.2
    name = "port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Listed:
        return value if isinstance(value, Listed) else parse_named(str(value))


class Count(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number from 1 to COUNT_MAX: an int, or what is wrong in words."""

    name = "count"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number, or fail as click has it."""
        text = str(value)
        if not is_count(text):
            self.fail(f"{text!r} is not a number from 1 to {COUNT_MAX}", param, ctx)
        return int(text)


def _parameter(option: Option) -> click.Option:
    kinds = {
        FLAG: {"is_flag": True},
        PORTS: {"type": _Port(), "multiple": True},
        COUNT: {"type": Count()},
        CHOICE: {"type": click.Choice(option.choices)},
        TEXT: {},
    }
    return click.Option(
        [*option.names, option.field],
        help=option.help,
        metavar=option.metavar,
        **kinds[option.kind],  # type: ignore[arg-type]
    )


def _request(argv: tuple[str, ...], **values: object) -> Request:
    return request_of(values, argv)


command = click.version_option(__version__, message="%(prog)s %(version)s")(
    click.Command(
        "pybind",
        callback=_request,
        help=_HELP,
        context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
        params=[
            *map(_parameter, OPTIONS),
            click.Argument(["argv"], nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM [ARG]..."),
        ],
    )
)


def parse(arguments: list[str]) -> Request | int:
    """Return the Request, or the exit status after --help or --version.

    Raises UsageError.
    """
    try:
        result: Request | int = command.main(arguments, prog_name="pybind", standalone_mode=False)
    except click.UsageError as error:
        raise UsageError(error.format_message(), "see: pybind --help") from None
    return result
