# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of lint about one rule file: broken lines, and lines that can never count."""

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...model import MAPPED
from ...paths import CONFIG_DIR
from ...permissions import reading
from ...permissions.folders import Trouble, path_of
from ...permissions.names import Owner
from ...permissions.overlap import meets
from ...permissions.precedence import FlagIndex, in_force
from ...permissions.reading import FILE_SIZE_MAX
from ...permissions.rule import Line, Rule, parse, rule_text
from ...permissions.spec import spec_text
from ...permissions.who import group_of, identity_of, user_of
from ...repairs import comment_out, sudo

BROKEN, WARNING = "broken", "warning"
_IPV4, _ANY4 = int(socket.AF_INET), bytes(4)


class Complaint(NamedTuple):
    """One thing to repair.

    level: BROKEN if the helper refuses because of it, else WARNING. code: a word for
    programs. file: a path. line: in the file, or 0. text: the fault. repair: the command.
    """

    level: str
    code: str
    file: str
    line: int
    text: str
    repair: str


class Context(NamedTuple):
    """The facts beside a file that decide whether it can count."""

    first_unprivileged: int
    flags: FlagIndex


def of_rule_file(owner: Owner, context: Context) -> Iterator[Complaint]:
    """Yield the complaints about a file in byuser or bygroup; none if it is gone."""
    path = path_of(owner.name)
    try:
        lines, troubles = reading.read_rule_file(owner.name, path)
        yield from map(broken, troubles)
        trouble = None if troubles else reading.unreadable(owner, path)
        if trouble:
            yield broken(trouble)._replace(code="unreadable")
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"could not be looked at: {error.strerror}"
        yield Complaint(WARNING, "not-linted", path, 0, text, sudo(("pybindctl", "lint")))
        return
    if not _exists(owner.folder, owner.ident):
        kind = "user" if owner.folder == "byuser" else "group"
        text = f"there is no {kind} {owner.ident} on this host; a later one would inherit this"
        yield Complaint(WARNING, f"no-{kind}", path, 0, text, sudo(("rm", path)))
    if not troubles:
        yield from _of_lines(path, lines, owner, context)


def of_contents(path: str, context: Context) -> Iterator[Complaint]:
    """Yield the complaints about the lines of a rule file anywhere. Raises OSError.

    Owner and mode do not count. The name counts if the folder is called byuser or bygroup.
    """
    # A FIFO in somebody's folder would keep root waiting; in /dev/fd it is a shell's <(COMMAND).
    piped = path.startswith("/dev/")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if piped else os.O_NONBLOCK))
    with open(fd, "rb") as file:
        if not piped and not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", path)
        data = file.read(FILE_SIZE_MAX + 1)
    if len(data) > FILE_SIZE_MAX:
        yield broken(reading.too_big(path))
        return
    lines = parse(data)
    faults = list(reading.faults(path, path, lines))
    yield from map(broken, faults)
    folder, _, name = os.path.abspath(path).rpartition("/")
    owner = reading.owner_of(folder.rpartition("/")[2], name)
    if not faults:
        yield from _of_lines(path, lines, owner, context._replace(flags=FlagIndex([])))


def broken(trouble: Trouble) -> Complaint:
    """Return a Trouble as a Complaint."""
    code, text = "file", trouble.text
    if trouble.line:
        code, text = "line", f"{trouble.text}; a broken line refuses the whole file"
    path = path_of(trouble.name)
    return Complaint(BROKEN, code, path, trouble.line, text, trouble.repair)


@functools.lru_cache(None)
def _exists(folder: str, ident: int) -> bool:
    try:
        pwd.getpwuid(ident) if folder == "byuser" else grp.getgrgid(ident)
    except KeyError:
        return False
    return True


def _of_lines(
    path: str, lines: list[Line], owner: Owner | None, context: Context
) -> Iterator[Complaint]:
    rules = [line.content for line in lines if isinstance(line.content, Rule)]
    for number, raw, rule in lines:
        if not isinstance(rule, Rule):
            continue
        take_out = comment_out(path, number, raw)
        if owner is None:
            parts = in_force(rule, reserved=False) + in_force(rule, reserved=True)
        else:
            parts = in_force(rule, owner.reserved)
        if not parts:
            code, text, repair = _never(rule, owner, number, path)
            if code == "mark":
                repair += f" && {take_out}"
            yield Complaint(WARNING, code, path, number, text, repair or take_out)
        elif min(part.port_min for part in parts) >= context.first_unprivileged:
            text = (
                f"ports from {context.first_unprivileged} on are not privileged here: everybody "
                "may bind them without a grant (sysctl net.ipv4.ip_unprivileged_port_start)"
            )
            yield Complaint(WARNING, "not-privileged", path, number, text, take_out)
        else:
            shadows = [context.flags.shadow(part) for part in parts]
            if all(shadow.whole for shadow in shadows):
                first = shadows[0].flags[0].name
                text = f"is never reached: {CONFIG_DIR}/{first} decides before it, for everybody"
                yield Complaint(WARNING, "shadowed", path, number, text, take_out)
            elif owner and _lacks_half(rule, owner, rules, context):
                text = (
                    "can never grant: whoever binds :: takes the IPv4 port too, and so "
                    "0.0.0.0 has to be granted as well"
                )
                repair = _grant(owner, rule._replace(family=_IPV4, addr_min=_ANY4, addr_max=_ANY4))
                yield Complaint(WARNING, "half", path, number, text, repair)


def _lacks_half(rule: Rule, owner: Owner, rules: list[Rule], context: Context) -> bool:
    """Tell whether a line for :: alone can never grant, because nothing grants 0.0.0.0."""
    if rule.family != socket.AF_INET6 or any(rule.addr_max):
        return False
    half = rule._replace(family=_IPV4, addr_min=_ANY4, addr_max=_ANY4)
    if context.flags.shadow(half).flags:  # what these grant is another question
        return False
    if owner.folder == "byuser":
        user = identity_of(owner.ident)
        mark = "!" if owner.reserved else ""
        rules = [*rules, *_rules_of(f"bygroup/{mark}{group}" for group in (user.gid, *user.groups))]
    return not meets(rules, half)


def _rules_of(names: Iterable[str]) -> Iterator[Rule]:
    for name in names:
        with contextlib.suppress(OSError):
            lines, _ = reading.read_rule_file(name, path_of(name))
            yield from (line.content for line in lines if isinstance(line.content, Rule))


def _grant(owner: Owner, rule: Rule) -> str:
    who = user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident)
    return sudo(("pybindctl", "grant", "--yes", who.text, spec_text(rule)))


def _never(rule: Rule, owner: Owner | None, number: int, path: str) -> tuple[str, str, str]:
    """Return code, text and repair for a line that no question can ever match."""
    if rule.family == socket.AF_INET6 and rule.addr_min.startswith(MAPPED):
        inner = rule._replace(
            family=int(socket.AF_INET), addr_min=rule.addr_min[12:], addr_max=rule.addr_max[12:]
        )
        text = "never matches: a mapped address is judged as the IPv4 address inside it"
        return "mapped", text, sudo(("sed", "-i", f"{number}c{rule_text(inner)}", path))
    if rule.port_max == 0 or owner is None:
        return "port-0", "never matches: port 0 means any free port and needs no grant", ""
    text = (
        "never matches: rules for ports 512 to 1023 count only in the file with a '!' in its name"
    )
    if owner.reserved:
        text = (
            "never matches: only rules for ports 512 to 1023 count in a file with '!' in its name"
        )
    return "mark", text, _grant(owner, rule._replace(port_min=max(rule.port_min, 1)))
