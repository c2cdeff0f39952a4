# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of authbind(1), as another front end to the stages of cli.py.

Options, defaults and exit statuses are those of authbind 2.1.3. The helper judges
by pybind's permission files. man/authbind.1 has the other differences.
"""

from __future__ import annotations

import os

from . import cli, launch, plan, target
from .errors import UsageError
from .model import AUTO, Request
from .paths import LIBRARY

STATUS_FAILED = 255  # authbind's exit(-1), for every failure before the program starts
_DEPTH_MAX = 100
_USAGE = (
    "usage: authbind [--deep | --depth LEVELS] PROGRAM [ARGUMENT]...",
    "This authbind is pybind's: it judges by /etc/pybind. See authbind(1), pybind(1).",
)


def main(arguments: list[str], notes: str) -> int:
    """Run the command; returns an exit status only when the program was not started."""
    return cli.guard(lambda: _start(arguments, notes), "authbind", STATUS_FAILED)


def parse(words: list[str]) -> Request | None:
    """Return the command line as a Request, or None for --help. Raises UsageError.

    The first word that does not begin with "-" is the program. A lone "-" ends the
    options. Like authbind, drops options that authbind does not know, "--" among them.
    """
    depth: int | None = 1
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "-":
            break
        if word == "--help":
            return None
        if word == "--deep":
            depth = None
        elif word == "--depth":
            if not rest:
                raise UsageError("usage error: --depth requires a value", *_USAGE)
            depth = _levels(rest.pop(0))
    if not rest:
        raise UsageError("usage error: need program name", *_USAGE)
    argv = tuple(os.fsencode(word) for word in rest)
    return Request(
        listed=(), depth=depth, mode=AUTO, verbose=False, quiet=True, check=False, argv=argv
    )


def _levels(word: str) -> int:
    """Return the number of levels, 1 to 100, read like strtoul(3). Raises UsageError."""
    digits = word.lstrip(" \t\n\v\f\r")
    digits = digits[1:] if digits.startswith("+") else digits
    number = digits.lstrip("0")
    if digits.isascii() and digits.isdigit() and 0 < len(number) <= 3 and int(number) <= _DEPTH_MAX:
        return int(number)
    raise UsageError("usage error: --depth value is not valid", *_USAGE)


def _start(arguments: list[str], notes: str) -> int:
    request = parse(arguments)
    if request is None:
        print(*_USAGE, sep="\n")
        return 0
    environ = launch.read_environ()
    program = target.classify(target.find(request.argv[0], environ))
    if os.geteuid() == 0:
        # Root itself needs no library. But root's program may give up root (su, setpriv,
        # chpst) and keep the environment: authbind serves such a program.
        launch.execute(plan.preload(request, program, environ, os.fsencode(LIBRARY)), notes)
    if program.obstacle:
        request = request._replace(depth=None)  # a supervisor serves all that the program starts
    return cli.run(request, notes)
