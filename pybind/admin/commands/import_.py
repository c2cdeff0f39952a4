# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import: takes grants over from authbind, PORT:USER lists and mac_portacl.

Shows the plan; with --apply carries it out and proves it. What is here stays:
an import adds, and takes a port from nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from ...errors import HelperUnusable
from ...permissions import differences
from ...permissions.errors import STATUS_NO
from ...permissions.writing import Change, commit, locked, need_root
from .. import output
from ..importers import authbind, lists, proof
from ..importers.lists import Left, Source
from ..importers.plan import make_plan, plan_grants


class _Report(NamedTuple):
    """What came of an import. problem: why it could not be proved."""

    applied: bool
    changes: list[Change]
    left: list[Left]
    asked: int = 0
    found: tuple[proof.Difference, ...] = ()
    problem: tuple[str, ...] = ()


@click.group("import")
def import_command() -> None:
    """Take over the grants of authbind, of a PORT:USER list, or of mac_portacl.

    Without --apply only the plan is shown. Exit status: 0 done, and every old
    permission has the same answer or a listed reason; 1 not so.
    """


def _options(function: Callable[..., int]) -> Callable[..., int]:
    function = output.json_option(function)
    return click.option(
        "--apply", "apply", is_flag=True, help="Carry the plan out (needs root) and prove it."
    )(function)


@import_command.command("authbind")
@_options
@click.argument("folder", default="/etc/authbind", metavar="[DIR]")
def _authbind(folder: str, apply: bool, as_json: bool) -> int:
    """Take over authbind's byport, byaddr and byuid from DIR (/etc/authbind)."""
    return _run(lambda: authbind.read(folder), apply, as_json)


@import_command.command("daemonusr")
@_options
@click.argument("file", metavar="FILE")
def _daemonusr(file: str, apply: bool, as_json: bool) -> int:
    """Take over lines PORT:USER, such as 25:exim, from FILE."""
    return _run(lambda: lists.daemonusr(file), apply, as_json)


@import_command.command("portacl")
@_options
@click.argument("rules", metavar="RULES")
def _portacl(rules: str, apply: bool, as_json: bool) -> int:
    """Take over rules of FreeBSD's mac_portacl, such as uid:80:tcp:80,gid:1001:udp:53."""
    return _run(lambda: lists.portacl(rules), apply, as_json)


def _run(read: Callable[[], Source], apply: bool, as_json: bool) -> int:
    if apply:
        need_root()
    source = read()
    report = _apply(source) if apply else _plan(source)
    if as_json:
        _emit(source, report)
    else:
        _print(source, report)
    bad = report.problem or any(not difference.why for difference in report.found)
    failed = len(report.left) > len(source.left)
    return STATUS_NO if bad or failed else 0


def _plan(source: Source) -> _Report:
    plan = make_plan(source)
    changes, left = plan_grants(plan.grants)
    return _Report(False, [*plan.changes, *changes], [*source.left, *left])


def _apply(source: Source) -> _Report:
    with locked():
        plan = make_plan(source)
        commit(list(plan.changes))
        more, left = plan_grants(plan.grants)
        commit(more)
    changes = [*plan.changes, *more]
    report = _Report(True, changes, [*source.left, *left])
    names = {*source.flags, *source.files, *(change.name for change in changes)}
    try:
        asked, found = proof.prove(source, names)
    except HelperUnusable as error:
        return report._replace(problem=error.lines)
    return report._replace(asked=asked, found=tuple(found))


def _print(source: Source, report: _Report) -> None:
    for note in source.changed:
        output.say(f"{output.paint('changed', output.WARNING)} {_note(note)}")
    for note in report.left:
        output.say(f"{output.paint('left', output.WARNING)} {_note(note)}")
    if not report.changes:
        output.say(f"nothing to do: all that {source.title} grants is here already")
    for change in report.changes:
        for line in differences.summary(change):
            planned = not report.applied and not line.startswith(" ")
            output.say(output.plain("would be " + line if planned else line))
    if not report.applied:
        if report.changes:
            output.say("nothing was changed; to carry it out, as root: the same with --apply")
        return
    if report.problem:
        click.echo("pybindctl: not proved: " + "\n".join(report.problem), err=True)
        return
    for difference in report.found:
        word, colour = ("explained", output.WARNING) if difference.why else ("DIFFERS", output.BAD)
        output.say(f"{output.paint(word, colour)} {difference.text}")
    output.say(
        f"proved with the helper: {report.asked - len(report.found)} of {report.asked} answers "
        "are as before"
    )


def _note(note: Left) -> str:
    text = f" ({note.text})" if note.text else ""
    return output.plain(f"{note.where}{text}: {note.why}")


def _emit(source: Source, report: _Report) -> None:
    found: list[dict[str, Any]] = [
        {
            "user": difference.who.text,
            "granted": difference.granted,
            "explanation": difference.why or None,
            "text": difference.text,
        }
        for difference in report.found
    ]
    output.emit_json(
        source=source.title,
        applied=report.applied,
        changes=differences.as_json(report.changes),
        changed=[note._asdict() for note in source.changed],
        left=[note._asdict() for note in report.left],
        asked=report.asked,
        differences=found,
        problem=list(report.problem),
    )
