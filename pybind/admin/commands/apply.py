# SPDX-License-Identifier: GPL-3.0-or-later
"""`pybindctl apply` and `export`: all grants of a host in one TOML file.

    [[grant]]
    user = "alice"                  # or group = "www", or everyone = true
    ports = ["80", "443/tcp", "192.0.2.0/24:8000-8010"]

Python has tomllib from 3.11 on. An older Python needs the package tomli (Debian:
python3-tomli).
"""  # fmt: skip

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from typing import Any, NamedTuple

import click

from ...errors import PybindError
from ...paths import CONFIG_DIR
from ...permissions.access import holders
from ...permissions.changing import differences, editing
from ...permissions.changing.state import State
from ...permissions.changing.writing import Change, left_over, locked, need_root
from ...permissions.errors import STATUS_INVALID, STATUS_NO, AdminError, Invalid, NeedsRoot
from ...permissions.rule import Rule
from ...permissions.spec import parse_spec, spec_text
from ...permissions.who import EVERYONE, GROUP, USER, Who, everyone, group, group_of, user, user_of
from .. import output
from ..asking import verification
from ..changing import granting

_SIZE_MAX = 1 << 28  # of FILE: millions of grants
_NUMBER_MAX = 1 << 32  # beyond every uid, gid and port
_KEYS = ("user", "group", "everyone", "ports")


class Wanted(NamedTuple):
    """One [[grant]] of the file."""

    who: Who
    rules: list[Rule]


@click.command("apply")
@click.argument("file", metavar="FILE")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if something would change.")
@click.option("--diff", is_flag=True, help="Show what changes as a unified diff.")
@click.option("--prune", is_flag=True, help="Take away every grant that is not in FILE.")
@output.json_option
def apply_command(file: str, check: bool, diff: bool, prune: bool, as_json: bool) -> int:
    """Make the grants of a TOML file (- is standard input).

    Everything is validated before the first write. A second run changes nothing. After
    an error all changes are undone; after a kill the next run completes them. No
    questions are asked. For the format see pybindctl(8), or the output of pybindctl
    export.

    Exit status: 0 every port that FILE grants can be bound, 1 something would change
    (--check), 3 FILE is invalid, or something refuses its ports.
    """
    if not check:
        need_root()
    wanted, is_explicit = _read(file)
    if prune and not wanted and not is_explicit:
        raise Invalid(
            f"{file}: has no [[grant]], and --prune would take every grant away; "
            "nothing was changed",
            "if that is meant, write in it: grant = []",
        )
    changes = _planned(wanted, prune)
    if (changes or left_over()) and not check:
        with locked():
            changes = _planned(wanted, prune)
            granting.commit_and_wait(changes)
    whos = [entry.who for entry in wanted]
    refusing = verification.concerning(verification.everything(), whos)
    if as_json:
        output.emit_json(
            command="apply",
            check=check,
            changed=bool(changes),
            changes=differences.as_json(changes),
            refusing=verification.as_json(refusing),
        )
    else:
        _report(changes, check, diff)
    if check and changes:
        return verification.tell(refusing) or STATUS_NO
    return verification.tell(refusing) or _verified(wanted)


def _planned(wanted: list[Wanted], prune: bool) -> list[Change]:
    state = State()
    if prune:
        rules: dict[Who, list[Rule]] = {}
        for who, entries in wanted:
            rules.setdefault(_canonical(who), []).extend(entries)
        editing.prune(state, rules)
    for who, entries in wanted:
        for rule in entries:
            editing.grant(state, who, rule)
    return state.changes()


def _canonical(who: Who) -> Who:
    """Return the Who with the first name of its number: several accounts may share a number."""
    if who.kind == EVERYONE:
        return who
    return user_of(who.ident) if who.kind == USER else group_of(who.ident)


def _report(changes: list[Change], check: bool, diff: bool) -> None:
    if diff:
        for line in differences.unified(changes):
            output.say(line)
        return
    for change in changes:
        if check:
            output.say(f"would change {change.path}")
            continue
        output.say_change(differences.summary(change))
    if not changes:
        output.say("nothing to change")


def _verified(wanted: list[Wanted]) -> int:
    """Ask the helper about every wanted grant; returns the exit status."""
    status = 0
    if os.geteuid() != 0:
        output.tell("note", "not verified: only root can ask the helper as somebody else")
        return status
    for who, rules in wanted:
        answers, problem = verification.verify(who, rules)
        refused = [answer for answer in answers if not answer.granted]
        if refused or problem:
            granting.say_refused(who, refused, problem)
            # FILE may grant :: without 0.0.0.0: that is no fault of the files.
            if problem or not all(answer.reply.v4_half for answer in refused):
                status = STATUS_INVALID
    return status


def _read(file: str) -> tuple[list[Wanted], bool]:
    """Return the grants of a TOML file, and whether it has the key `grant`.

    Raises Invalid, which names the wrong entry.
    """
    toml = _toml()
    try:
        if file == "-":
            data = sys.stdin.buffer.read(_SIZE_MAX + 1)
        else:
            with open(file, "rb") as opened:
                data = opened.read(_SIZE_MAX + 1)
        if len(data) > _SIZE_MAX:
            raise Invalid(f"{file}: is larger than {_SIZE_MAX >> 20} MiB; nothing was changed")
        content = toml.loads(data.decode())
    except UnicodeDecodeError:
        raise Invalid(f"{file}: is not UTF-8, as TOML must be; nothing was changed") from None
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, 1000 lists in lists
        raise Invalid(f"{file}: {error}; nothing was changed") from None
    unknown = sorted(set(content) - {"grant"})
    if unknown:
        raise Invalid(f"{file}: unknown key {unknown[0]!r}: there are only [[grant]] entries")
    entries = content.get("grant", [])
    if not isinstance(entries, list):
        raise Invalid(f"{file}: grant is not a list of tables: write [[grant]]")
    wanted = [_entry(file, number, entry) for number, entry in enumerate(entries, 1)]
    return wanted, "grant" in content


def _entry(file: str, number: int, entry: Any) -> Wanted:
    try:
        return _understood(entry)
    except PybindError as error:
        first, *more = error.lines
        where = f"{file}: [[grant]] number {number}: "
        raise Invalid(f"{where}{first}; nothing was changed", *more) from None


def _understood(entry: Any) -> Wanted:
    if not isinstance(entry, dict):
        raise AdminError("is not a table: write [[grant]], then lines of KEY = VALUE")
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise AdminError(f"unknown key {unknown[0]!r}: there are {', '.join(_KEYS)}")
    ports = entry.get("ports")
    if not isinstance(ports, list) or not ports:
        raise AdminError('ports is missing, or no list of ports: write ports = ["80", "443/tcp"]')
    return Wanted(_who(entry), [parse_spec(_word(port, "port")) for port in ports])


def _who(entry: dict[str, Any]) -> Who:
    given = [key for key in _KEYS[:3] if key in entry]
    if len(given) != 1:
        raise AdminError("needs exactly one of user, group and everyone")
    if given == ["user"]:
        return user(_word(entry["user"], "user"))
    if given == ["group"]:
        return group(_word(entry["group"], "group"))
    if entry["everyone"] is not True:
        raise AdminError("everyone can only be true: leave the entry out to grant nothing")
    return everyone()


def _word(value: Any, key: str) -> str:
    if isinstance(value, int) and abs(value) > _NUMBER_MAX:  # Python writes none of 5000 digits
        raise AdminError(f"{key} is a number out of range")
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise AdminError(f"{key} {value!r} is neither text nor a number")


def _toml() -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module("tomllib")
    with contextlib.suppress(ImportError):
        return importlib.import_module("tomli")
    raise AdminError(
        "this Python cannot read TOML: that needs Python 3.11, or the package tomli",
        "to install it (Debian): sudo apt-get install python3-tomli",
    )


@click.command("export")
@output.json_option
def export_command(as_json: bool) -> int:
    """Print all grants of this host as a file for pybindctl apply.

    Entries without effect are left out: lines that a flag file overrides, and flag
    files that grant to nobody. Files that refuse granted ports are named on standard
    error, with their repair, and the exit status is 3.
    """
    refusing = verification.everything()
    try:
        grants = _granted(State()) if os.path.isdir(CONFIG_DIR) else {}
    except PermissionError as error:
        verification.tell(refusing)
        raise NeedsRoot(f"{error.filename}: only root can read it") from None
    if as_json:
        output.emit_json(
            command="export",
            grants=[{**_key(who), "ports": ports} for who, ports in grants.items()],
            refusing=verification.as_json(refusing),
        )
        return verification.status(refusing)
    output.say("# pybindctl export; to be read by: pybindctl apply FILE")
    if not grants:
        output.say("grant = []")
    if refusing.refusing:
        output.say("# not all of it is in force: see pybindctl lint")
    for who, ports in grants.items():
        ((key, value),) = _key(who).items()
        output.say_text(f"\n[[grant]]\n{key} = {json.dumps(value, ensure_ascii=False)}")
        words = [json.dumps(port) for port in ports]
        line = f"ports = [{', '.join(words)}]"
        if len(line) > 100:
            line = "ports = [\n" + "".join(f"    {word},\n" for word in words) + "]"
        output.say_text(line)
    return verification.tell(refusing)


def _granted(state: State) -> dict[Who, list[str]]:
    """Return the grants in force, as SPECs, in the order everyone, users, groups."""
    by_who: dict[Who, list[Rule]] = {}
    for placed in state.flags(1, 65535):
        for who in holders(placed.access) if placed.effective else ():
            by_who.setdefault(who, []).extend(placed.effective)
    flags = editing.overriding(state)
    for owner in sorted(state.owners()):
        name = user_of if owner.folder == "byuser" else group_of
        rules = editing.rule_grants(state, owner.name, flags)
        if rules:
            by_who.setdefault(name(owner.ident), []).extend(rules)
    order = (EVERYONE, USER, GROUP)
    return {
        who: list(dict.fromkeys(spec_text(rule) for rule in by_who[who]))
        for who in sorted(by_who, key=lambda who: (order.index(who.kind), who.ident))
    }


def _key(who: Who) -> dict[str, object]:
    """Return `who` as the key and value of a [[grant]].

    The value is the number if the name consists of digits, or is not printable.
    """
    if who.kind == EVERYONE:
        return {"everyone": True}
    is_text = who.name.isprintable() and not who.name.isdecimal()
    return {who.kind: who.name if is_text else who.ident}
