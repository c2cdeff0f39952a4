# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of pybind, and a fast reader of its command line: argv -> Request.

commandline.py makes click's parser from the same declarations, with help, errors and
completion; a test compares the two. Importing click takes longer than a whole launch,
so click only reads command lines that read() does not understand.
"""

from __future__ import annotations

from . import plan
from ._lean import TYPE_CHECKING, NamedTuple, fsencode
from .errors import UsageError
from .model import AUTO, PRELOAD, SUPERVISE, Request

if TYPE_CHECKING:
    from typing import Any

FLAG, PORTS, COUNT, CHOICE, TEXT = "flag", "ports", "count", "choice", "text"
COUNT_MAX = 2**31 - 1  # listen(2) takes an int


class Option(NamedTuple):
    """One option. field: the member of Request; "deep" is a name of request_of() only."""

    names: tuple[str, ...]
    field: str
    kind: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()


OPTIONS = (
    Option(
        ("-p", "--port"),
        "listed",
        PORTS,
        "Serve only this port (number or service name; IPv6 in brackets). Repeatable.",
        "[NAME=][ADDR:]PORT[/PROTO]",
    ),
    Option(
        ("--depth",),
        "depth",
        COUNT,
        "Serve only the first N programs of a chain of execs.",
        "N",
    ),
    Option(("--deep",), "deep", FLAG, "Serve all descendants (the default; as authbind)."),
    Option(
        ("--mode",),
        "mode",
        CHOICE,
        "How PROGRAM's binds are served; auto if not given.",
        choices=(AUTO, PRELOAD, SUPERVISE),
    ),
    Option(
        ("--listen",),
        "listen",
        FLAG,
        "Give PROGRAM the listed ports as listening sockets, as systemd does (LISTEN_FDS).",
    ),
    Option(("--inetd",), "inetd", FLAG, "Give it the one listed port as standard input."),
    Option(
        ("--backlog",),
        "backlog",
        COUNT,
        "Queue length of the sockets of --listen and --inetd (default 4096).",
        "N",
    ),
    Option(
        ("--user",),
        "user",
        TEXT,
        "Run PROGRAM as this user, whose grants then count (root only; names or numbers).",
        "USER[:GROUP]",
    ),
    Option(
        ("-v", "--verbose"),
        "verbose",
        FLAG,
        "Say which way was taken, and on stderr what became of each bind.",
    ),
    Option(("-q", "--quiet"), "quiet", FLAG, "No notes, only errors."),
    Option(
        ("--check",),
        "check",
        FLAG,
        "Start and bind nothing: say whether it would be granted (0) or refused (125).",
    ),
)
_BY_FIELD = {option.field: option for option in OPTIONS}
_BY_NAME = {name: option for option in OPTIONS for name in option.names}


def read(arguments: list[str]) -> Request | None:
    """Return the command line as a Request, or None if click has to read it.

    Raises UsageError.
    """
    given: dict[str, list[str]] = {}
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "-":
        if arguments[at] == "--":
            at += 1
            break
        name, equals, value = arguments[at].partition("=")
        option = _BY_NAME.get(name)
        at += 1
        if option is None or (equals and (option.kind == FLAG or not name.startswith("--"))):
            return None  # an unknown option, or short options in one word
        if option.kind != FLAG and not equals:
            if at == len(arguments):
                return None
            value = arguments[at]
            at += 1
        given.setdefault(option.field, []).append(value)
    if not all(_plain(_BY_FIELD[field], texts) for field, texts in given.items()):
        return None
    values = {field: _convert(_BY_FIELD[field], texts) for field, texts in given.items()}
    return request_of(values, tuple(arguments[at:]))


def _plain(option: Option, texts: list[str]) -> bool:
    """Tell whether click would convert these texts as _convert() does."""
    if option.kind == COUNT:
        return all(map(is_count, texts))
    return option.kind != CHOICE or set(texts) <= set(option.choices)


def is_count(text: str) -> bool:
    """Tell whether `text` is a number from 1 to COUNT_MAX, in ASCII digits."""
    short = len(text) <= 10  # int() refuses very long ones
    return short and text.isascii() and text.isdigit() and 0 < int(text) <= COUNT_MAX


def _convert(option: Option, texts: list[str]) -> object:
    if option.kind == PORTS:
        from .ports import parse_named  # here and below: only for options about ports

        return tuple(parse_named(text) for text in texts)
    if option.kind == COUNT:
        return int(texts[-1])
    return option.kind == FLAG or texts[-1]


def request_of(values: dict[str, object], argv: tuple[str, ...]) -> Request:
    """Return the Request. values: field -> the option's value; None or absent: not given.

    Raises UsageError for options that exclude each other, or without a program.
    """
    program = tuple(fsencode(word) for word in argv)
    given: dict[str, Any] = {field: value for field, value in values.items() if value is not None}
    deep = given.pop("deep", False)
    if deep and "depth" in given:
        raise UsageError("--deep and --depth exclude each other")
    request = Request(argv=program, **given)
    if not program and not (request.check and request.listed):
        raise UsageError(
            "no program is given",
            "usage: pybind [OPTION]... [--] PROGRAM [ARG]...",
            "see: pybind --help",
        )
    if request.listed or request.gives_sockets or request.backlog is not None:
        from .ports import check_sockets

        ways = {"--mode": "mode" in given, "--depth": "depth" in given, "--deep": deep}
        request = check_sockets(request, [way for way, is_given in ways.items() if is_given])
    plan.fill_descriptors(request)  # only to raise its UsageError now
    return request
