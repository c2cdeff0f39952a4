# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of pybindctl: lines, tables, colour, progress, one JSON object; lost streams.

Colour is used if standard output is a terminal and NO_COLOR is not set (no-color.org).
A progress bar is shown if standard error is a terminal.

A standard stream may be full, or have no reader. The command keeps its exit status then:
forgiving() takes care of it. Without it, Python would print a traceback, or exit with
status 120 when it flushes the stream at its end.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

import click

from ..repairs import printable

_FIRST_ROWS = 2000
SCHEMA = 1  # in every JSON object; raised when a field changes its meaning
GOOD, BAD, WARNING, FAINT = "green", "red", "yellow", "bright_black"
WORDS = {"error": BAD, "warning": WARNING, "note": WARNING, "repair": GOOD}
# At the end of a line; these are the programs that tools/repairs knows. A process may have
# such a name too: "note: python3 (4711) of alice".
_COMMAND = re.compile(
    "(?<=[:?] )(?:sudo|pybindctl|pybindd?|ulimit|df|grep|kill|ip|mount|python3|unshare|make|apt-get|"
    "bpftool|journalctl|setcap|ss|sysctl|systemctl) (?!\\().*"
)
_PAINTED = re.compile("(\x1b\\[(?:3[123]|90|0)m)")  # what paint() writes
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Item = TypeVar("_Item")


def json_option(function: _Function) -> _Function:
    """Add the option --json to a command, as its parameter as_json."""
    option = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
    return option(function)


def who_and_specs(*, required: bool) -> Callable[[_Function], _Function]:
    """Add the parameters who, specs, yes and as_json to a command."""

    def add(function: _Function) -> _Function:
        function = json_option(function)
        function = click.option("--yes", is_flag=True, help="Do not ask.")(function)
        metavar = "SPEC..." if required else "[SPEC...|all]"
        function = click.argument("specs", nargs=-1, required=required, metavar=metavar)(function)
        return click.argument("who", metavar="WHO")(function)

    return add


def question(function: _Function) -> _Function:
    """Add the parameters of a question to a command: spec, user and as_json."""
    function = json_option(function)
    function = click.option(
        "--user", metavar="USER", help="Ask about this account or uid (needs root); else yourself."
    )(function)
    return click.argument("spec", metavar="[ADDR:]PORT[/PROTO]")(function)


def emit_json(**fields: object) -> None:
    """Print the one object of --json, with a line for each member of a list.

    A list may be an iterator. Bytes of names that are not UTF-8 are escaped.
    """
    write = sys.stdout.write
    write(f'{{"schema": {SCHEMA}')
    for name, value in fields.items():
        write(f",\n{json.dumps(name)}: ")
        if not isinstance(value, (list, Iterator)):
            write(json.dumps(value))
            continue
        before = "[\n"
        for item in value:
            write(before + json.dumps(item))
            before = ",\n"
        write("\n]" if before == ",\n" else "[]")
    write("}\n")


def coloured(stream: TextIO | None = None) -> bool:
    """Tell whether to use colours on a stream (None: standard output)."""
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    stream = sys.stdout if stream is None else stream
    return not os.environ.get("NO_COLOR") and not dumb and stream.isatty()


def paint(text: str, colour: str) -> str:
    """Return the text in a colour, if standard output shows colours."""
    return click.style(text, fg=colour) if coloured() else text


def say(text: str) -> None:
    """Print one line to standard output. Colours in it come from paint()."""
    click.echo(_shown(text), color=coloured())


def say_text(text: str) -> None:
    """Print lines to standard output that a program reads: nothing in them is escaped."""
    click.echo(text, color=coloured())


def _shown(text: str) -> str:
    """Return a line in which nothing but our colours speaks to the terminal.

    Names of files, accounts and processes are chosen by users, and reach root's terminal.
    """
    if text.isprintable():
        return text
    parts = _PAINTED.split(text)
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))


def typed(command: str) -> str:
    """Return a command as it is typed, or what to do first where its words cannot be typed."""
    if command.isprintable():
        return command
    return "give the file another name first: this one cannot be typed"


def say_prose(text: str, indent: str = "", word: str = "", colour: str = GOOD) -> None:
    """Print a sentence; on a terminal, wrap it at the terminal's width.

    indent: before the second line and the next ones. word: how the text begins; it is
    printed in the colour.
    """
    first, *rest = _wrapped(_shown(text), indent, sys.stdout)
    start = paint(word, colour) if word else ""
    for line in (start + first.removeprefix(word), *rest):
        say(line)


def say_change(lines: Sequence[str], before: str = "") -> None:
    """Print a change: the file, as a sentence that begins with `before`, and its lines as they are."""
    say_prose(before + lines[0], indent="    ")
    for line in lines[1:]:
        say(line)


def _wrapped(text: str, indent: str, stream: TextIO) -> list[str]:
    """Return the lines of a printable text, which fit the stream if it is a terminal.

    A command at the end stays whole, so that it can be copied.
    """
    if not stream.isatty():
        return [text]
    # A printable text has no no-break spaces, and textwrap does not break at these.
    bound = _COMMAND.sub(lambda match: match[0].replace(" ", "\xa0"), text)
    lead = " " * (len(text) - len(text.lstrip(" ")))
    width = max(40, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(bound.lstrip(" "), width, initial_indent=lead, subsequent_indent=indent,
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [line.replace("\xa0", " ") for line in lines] or [""]


def tell(word: str, text: str) -> None:
    """Print "WORD: TEXT" to standard error. word: a key of WORDS."""
    if text.startswith(word + ": "):
        text = text[len(word) + 2 :]
    whole = f"pybindctl: {word}: {printable(text)}"
    first, *rest = [whole] if word == "repair" else _wrapped(whole, "  ", sys.stderr)
    if coloured(sys.stderr):
        first = first.replace(word, click.style(word, fg=WORDS[word]), 1)
    for line in (first, *rest):
        click.echo(line, err=True, color=True)


def complain(text: str) -> None:
    """Print "pybindctl: TEXT", a sentence, to standard error."""
    for line in _wrapped(f"pybindctl: {printable(text)}", "  ", sys.stderr):
        click.echo(line, err=True)


def plain(name: str) -> str:
    """Return a name with escapes, so that it cannot send commands to the terminal."""
    return printable(name)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    widths = [max(map(_width, column)) for column in zip(head, *rows)]
    yield paint(_row(head, widths), FAINT)
    for row in rows:
        yield _row(row, widths)


def print_lines(lines: Iterable[str]) -> None:
    """Print many lines, flushed together."""
    sys.stdout.writelines(_shown(line) + "\n" for line in lines)


def print_table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> bool:
    """Print a table of any length; returns whether it has rows.

    The first rows decide the widths of the columns. On a terminal, no row is printed
    before the last is there, so that the table does not mix with the progress bar.
    """
    together = sys.stdout.isatty() and sys.stderr.isatty()
    first = list(rows if together else itertools.islice(rows, _FIRST_ROWS))
    if not first:
        return False
    widths = [max(map(len, column)) for column in zip(head, *first)]
    form = "  ".join([*(f"{{:{width}}}" for width in widths[:-1]), "{}"]) + "\n"
    sys.stdout.write(paint(form.format(*head)[:-1], FAINT) + "\n")
    for row in itertools.chain(first, rows):
        sys.stdout.write("\n".join(map(_shown, form.format(*row).split("\n"))))
    sys.stdout.flush()
    return True


def _row(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return the cells, filled with blanks up to the widths; colours have no width."""
    cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths)]
    return "  ".join(cells).rstrip()


def _width(cell: str) -> int:
    return len(click.unstyle(cell))


def progress(items: Sequence[_Item], label: str) -> Iterator[_Item]:
    """Yield the items; with many, show a bar if standard error is a terminal."""
    if not sys.stderr.isatty() or len(items) < 500:
        yield from items
        return
    with click.progressbar(items, label=label, file=sys.stderr) as bar:
        yield from bar


class Forgiving:
    """A text stream that drops text after an error. stream: borrowed. error: the first error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text to the stream, or drop it after an error."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream, or drop its buffer after an error."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Send the stream's buffer, and everything later, to /dev/null."""
        self.error = self.error or error
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    @property
    def is_lost(self) -> bool:
        """Tell whether text was lost. Not when the reader left (EPIPE): nobody waits for it."""
        return self.error is not None and self.error.errno != errno.EPIPE


def _open(fd: int) -> None:
    """Open /dev/null as a closed descriptor, so that no file of ours gets its number."""
    try:
        os.fstat(fd)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number


@contextlib.contextmanager
def forgiving() -> Iterator[Forgiving]:
    """Make standard output and error forgiving; yields standard output. Flushes both at the end."""
    for fd in range(3):
        _open(fd)
    before = sys.stdout, sys.stderr
    out, err = (
        Forgiving(stream or os.fdopen(fd, "w", closefd=False))
        for fd, stream in enumerate(before, 1)
    )
    for stream in before:  # the name of an account or file need not be UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = out, err
    try:
        yield out
        out.flush()
        err.flush()
    finally:
        sys.stdout, sys.stderr = before
