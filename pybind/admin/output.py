# SPDX-License-Identifier: GPL-3.0-or-later
"""How questions are answered: tables, colour, progress, and one JSON object.

Colour only where standard output is a terminal and NO_COLOR is not set
(no-color.org); a progress bar only where standard error is one.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

_FIRST_ROWS = 2000
SCHEMA = 1  # of every JSON object; counted up when a field changes its meaning
GOOD, BAD, WARNING, FAINT = "green", "red", "yellow", "bright_black"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Item = TypeVar("_Item")


def json_option(function: _Function) -> _Function:
    """Give a command the option --json, as its parameter as_json."""
    option = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
    return option(function)


def emit_json(**fields: object) -> None:
    """Print the one object of --json, a line for each member of a list.

    A list may be an iterator; a file's name that is not UTF-8 is escaped.
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


def coloured() -> bool:
    """Tell whether standard output shows colours."""
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return not os.environ.get("NO_COLOR") and not dumb and sys.stdout.isatty()


def paint(text: str, colour: str) -> str:
    """Return the text in a colour, or as it is."""
    return click.style(text, fg=colour) if coloured() else text


def say(text: str) -> None:
    """Print one line to standard output; colours in it were decided by paint()."""
    click.echo(text, color=coloured())


def plain(name: str) -> str:
    """Return a file's name as one that cannot speak to the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table with columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    form = _row_form(widths)
    yield paint(form.format(*head), FAINT)
    for row in rows:
        yield form.format(*row)


def print_lines(lines: Iterable[str]) -> None:
    """Print many lines without a flush for each."""
    sys.stdout.writelines(line + "\n" for line in lines)


def print_table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> bool:
    """Print a table of any length; returns whether it has rows.

    The first rows say how wide the columns are. On a terminal all rows wait
    for the last one: the progress bar goes before them.
    """
    together = sys.stdout.isatty() and sys.stderr.isatty()
    first = list(rows if together else itertools.islice(rows, _FIRST_ROWS))
    if not first:
        return False
    widths = [max(map(len, column)) for column in zip(head, *first)]
    form = _row_form(widths) + "\n"
    sys.stdout.write(paint(_row_form(widths).format(*head), FAINT) + "\n")
    for row in itertools.chain(first, rows):
        sys.stdout.write(form.format(*row))
    sys.stdout.flush()
    return True


def _row_form(widths: Sequence[int]) -> str:
    return "  ".join([*(f"{{:{width}}}" for width in widths[:-1]), "{}"])


def progress(items: Sequence[_Item], label: str) -> Iterator[_Item]:
    """Yield the items, with a bar on standard error while that is a terminal."""
    if not sys.stderr.isatty() or len(items) < 500:
        yield from items
        return
    with click.progressbar(items, label=label, file=sys.stderr) as bar:
        yield from bar
