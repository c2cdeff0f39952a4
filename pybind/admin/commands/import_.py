# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import: takes grants over from authbind, PORT:USER lists and mac_portacl.

Without --apply it shows the plan; with --apply it carries the plan out and proves it. An
import only adds grants: nobody loses a port.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import click

from ...errors import PybindError
from ...paths import CONFIG_DIR, PREFIX
from ...permissions.changing import differences
from ...permissions.changing.state import State
from ...permissions.changing.writing import locked, need_root
from ...permissions.errors import STATUS_NO
from ...repairs import put_away, sudo
from .. import output
from ..asking import in_kernel, verification
from ..changing.granting import commit_and_wait
from ..importers import authbind, lists, rehearsal
from ..importers.plan import Plan, make_plan
from ..importers.proof import Difference, Questions
from ..importers.source import Left, Source

AUTHBIND = "/etc/authbind"
_SHOWN = 8  # at most so many users or ports are printed for people; --json has all
_COMMAND_LINE = f"{PREFIX}/share/pybind/startauthbind.py"  # of the other package
_SCRIPTS = "/etc/systemd /etc/init.d /etc/default /etc/cron* /usr/local/bin /usr/local/sbin"


class _Report(NamedTuple):
    """The result of an import.

    asked: the number of questions. differing: the answers that differ. problem: why the
    questions could not be asked.
    """

    source: Source
    plan: Plan
    applied: bool
    asked: int
    differing: Sequence[Difference] = ()
    problem: tuple[str, ...] = ()

    @property
    def left(self) -> list[Left]:
        """Return the grants that are not carried over."""
        return [*self.source.left, *(lost.note for lost in self.plan.lost)]

    @property
    def status(self) -> int:
        """Return the exit status."""
        unexplained = any(not difference.reason for difference in self.differing)
        nothing = self.source.is_empty and self.source.left
        unproved = self.applied and self.problem
        return STATUS_NO if unexplained or nothing or unproved or self.plan.lost else 0


@click.group("import")
def import_command() -> None:
    """Take over grants of authbind, a PORT:USER list or mac_portacl.

    Without --apply it only shows the plan, and the answers that would change. Exit
    status: 0 every answer is the same as before or has a listed reason, else 1.
    """


def _options(function: Callable[..., int]) -> Callable[..., int]:
    function = output.json_option(function)
    return click.option(
        "--apply", "apply", is_flag=True, help="Carry the plan out (needs root) and prove it."
    )(function)


@import_command.command("authbind")
@_options
@click.argument("folder", default=AUTHBIND, metavar="[DIR]")
def _authbind(folder: str, apply: bool, as_json: bool) -> int:
    """Take over authbind's files from DIR (/etc/authbind).

    These are the files in byport, byaddr and byuid.
    """
    words = ["authbind", *([folder] if folder != AUTHBIND else [])]
    return _run(lambda: authbind.read(folder), apply, as_json, words)


@import_command.command("daemonusr")
@_options
@click.argument("file", metavar="FILE")
def _daemonusr(file: str, apply: bool, as_json: bool) -> int:
    """Take over lines PORT:USER, such as 25:exim, from FILE."""
    return _run(lambda: lists.daemonusr(file), apply, as_json, ["daemonusr", file])


@import_command.command("portacl")
@_options
@click.argument("rules", metavar="RULES")
def _portacl(rules: str, apply: bool, as_json: bool) -> int:
    """Take over rules of FreeBSD's mac_portacl.

    RULES are such as uid:80:tcp:80,gid:1001:udp:53.
    """
    return _run(lambda: lists.portacl(rules), apply, as_json, ["portacl", rules])


def _run(read: Callable[[], Source], apply: bool, as_json: bool, words: Sequence[str]) -> int:
    """Plan or carry out an import. words: what was typed after `import`, without options."""
    if apply:
        need_root()
    source = read()
    report = _apply(source) if apply else _plan(source)
    refusing = verification.host()
    if as_json:
        _emit(report, refusing)
    else:
        _print(report, words)
    return verification.tell(refusing) or report.status


def _plan(source: Source) -> _Report:
    """Plan, and try the plan in a copy of the files; only root can try it."""
    plan = make_plan(source)
    if os.geteuid() != 0:
        return _Report(source, plan, False, 0, (), ("only root can try the plan",))
    questions = Questions(source, plan)
    report = _Report(source, plan, False, len(questions.cells))
    try:
        questions.ask_before()
        with rehearsal.copy(plan.changes) as root:
            return report._replace(differing=questions.compare(root))
    except PybindError as error:
        return report._replace(problem=error.lines)


def _apply(source: Source) -> _Report:
    """Plan, write under the same lock, and then ask the helper."""
    problem: tuple[str, ...] = ()
    with locked():
        plan = make_plan(source)
        questions = Questions(source, plan)
        try:
            questions.ask_before()
        except PybindError as error:
            problem = error.lines
        commit_and_wait(plan.changes)
    report = _Report(source, plan, True, len(questions.cells), (), problem)
    if problem:
        return report
    try:
        questions.renew(State())
        return report._replace(differing=questions.compare(), asked=len(questions.cells))
    except PybindError as error:
        return report._replace(problem=error.lines)


def _print(report: _Report, words: Sequence[str]) -> None:
    source, changes = report.source, report.plan.changes
    for note in (*source.notes, *report.plan.notes):
        _say_note("note:", note)
    for note in report.left:
        _say_note("left out:", note)
    if source.is_empty and source.left:
        output.say("nothing could be taken over")
    elif not changes:
        reason = "it grants nothing" if source.is_empty else "all that it grants is here already"
        output.say_prose(f"nothing to do for {source.title}: {reason}", indent="  ")
    for change in changes:
        output.say_change(differences.summary(change), "" if report.applied else "would be ")
    _say_compared(report)
    if report.problem:
        word = "not proved" if report.applied else "not tried"
        first, *rest = report.problem
        for line in (f"{word}: {first}", *rest):
            click.echo(f"pybindctl: {output.plain(line)}", err=True)
    if not report.applied and changes:
        command = sudo(("pybindctl", "import", *words, "--apply"))
        output.say("nothing was changed")
        output.say(output.plain(f"to carry it out: {command}"))
    elif not report.plan.lost and not source.is_empty:
        for line in _next_steps(source):
            output.say(line)


def _say_compared(report: _Report) -> None:
    """Print the differences, each with the command that keeps the old answer."""
    if report.problem:
        return
    kinds: dict[tuple[str, bool], list[Difference]] = {}
    for difference in report.differing:
        kinds.setdefault((difference.reason, difference.granted), []).append(difference)
    for (reason, granted), differences_of_kind in kinds.items():
        verdict = "granted" if granted else "refused"
        word, colour = ("differs:", output.WARNING) if reason else ("DIFFERS:", output.BAD)
        head = reason or "no listed difference explains it"
        output.say_prose(f"{word} {head}", indent="  ", word=word, colour=colour)
        for difference in differences_of_kind[:_SHOWN]:
            by = f" ({difference.by})" if difference.by else ""
            ports = _some(difference.specs)
            is_now = ("is" if len(difference.specs) == 1 else "are") + f" {verdict} now"
            verb = is_now if report.applied else f"would be {verdict}"
            text = f"  {difference.who.described}: {ports} {verb}{by}"
            output.say_prose(text, indent="    ")
            for line in difference.commands:
                output.say(f"  to keep it: sudo {line}")
        if len(differences_of_kind) > _SHOWN:
            output.say(f"  and {len(differences_of_kind) - _SHOWN} others (--json shows all)")
    changed = sum(len(difference.boxes) for difference in report.differing)
    how = "proved with the helper" if report.applied else "tried with the helper"
    verb = "are" if report.applied else "would be"
    output.say(f"{how}: {report.asked - changed} of {report.asked} answers {verb} as before")


def _some(specs: Sequence[str]) -> str:
    more = f" and {len(specs) - _SHOWN} more" if len(specs) > _SHOWN else ""
    return ", ".join(specs[:_SHOWN]) + more


def _next_steps(source: Source) -> list[str]:
    """Return lines about the steps that remain for the administrator."""
    if source.title == CONFIG_DIR:
        away = put_away(f"{CONFIG_DIR}/byuid")
        return [f"next: byuid is done with; to put it away: {away}"]
    judged = in_kernel.judges_all()
    if not source.decided and not source.files:
        if judged:
            return ["next: start it as that user, as it is, because pybindd runs"]
        return ["next: start it as that user: pybind --port 25 -- PROGRAM"]
    lines = [
        "next: in start scripts write pybind for authbind; it takes --deep and --depth too",
        f"to find them: grep -rls authbind {_SCRIPTS}",
    ]
    if judged:
        lines[0] = "next: in start scripts leave authbind out, because pybindd runs"
    if not os.path.exists(_COMMAND_LINE):
        lines.append("or let them stay as they are: the package pybind-ports-authbind, authbind(1)")
    return lines


def _say_note(word: str, note: Left) -> None:
    text = f" ({note.text})" if note.text else ""
    line = f"{word} {note.where}{text}: {note.why}"
    output.say_prose(line, indent="  ", word=word, colour=output.WARNING)


def _emit(report: _Report, refusing: verification.Condition) -> None:
    source, plan = report.source, report.plan
    output.emit_json(
        source=source.title,
        applied=report.applied,
        changes=differences.as_json(plan.changes),
        changed=[note._asdict() for note in (*source.notes, *plan.notes)],
        left=[note._asdict() for note in report.left],
        asked=report.asked,
        differences=[
            {
                "user": difference.who.text,
                "granted": difference.granted,
                "name": difference.name or None,
                "explanation": difference.reason or None,
                "text": f"{_some(difference.specs)} for {difference.who.described}",
                "ports": difference.specs,
                "by": difference.by or None,
                "commands": difference.commands,
            }
            for difference in report.differing
        ],
        problem=list(report.problem),
        refusing=verification.as_json(refusing),
    )
