# SPDX-License-Identifier: GPL-3.0-or-later
"""What lint finds in one rule file: broken lines, and lines that can never count."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import shlex
import socket
from collections.abc import Iterator
from typing import NamedTuple

from ...model import MAPPED
from ...paths import CONFIG_DIR
from ...permissions import reading
from ...permissions.access import R, permits, read_access
from ...permissions.names import Owner
from ...permissions.precedence import FlagIndex, in_force
from ...permissions.reading import FILE_SIZE_MAX, Trouble
from ...permissions.rule import Line, Rule, parse, rule_text
from ...permissions.spec import spec_text
from ...permissions.who import group_of, identity_of, user_of

BROKEN, WARNING = "broken", "warning"


class Finding(NamedTuple):
    """One thing to repair. level: BROKEN, where the helper refuses because of it, or WARNING.

    code: a word for programs. file: a path. line: 0 for none. text: what and
    why. repair: what root types.
    """

    level: str
    code: str
    file: str
    line: int
    text: str
    repair: str


class Context(NamedTuple):
    """What a file is judged by beside itself."""

    first_unprivileged: int
    flags: FlagIndex


def of_rule_file(owner: Owner, context: Context) -> Iterator[Finding]:
    """Yield what is wrong with a file in byuser or bygroup; nothing where it is gone."""
    path = reading.path_of(owner.name)
    try:
        lines, troubles = reading.read_rule_file(owner.name, path)
        yield from map(broken, troubles)
        if not troubles:
            yield from _unreadable(owner, path)
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"could not be looked at: {error.strerror}"
        yield Finding(WARNING, "not-linted", path, 0, text, "pybindctl lint  (as root)")
        return
    if not _exists(owner.folder, owner.ident):
        what = "user" if owner.folder == "byuser" else "group"
        text = f"there is no {what} {owner.ident} on this host; a later one would inherit this"
        yield Finding(WARNING, f"no-{what}", path, 0, text, f"rm {shlex.quote(path)}")
    if not troubles:
        yield from _of_lines(path, lines, owner, context)


def of_contents(path: str, context: Context) -> Iterator[Finding]:
    """Yield what is wrong inside a rule file that lies anywhere. Raises OSError.

    Its owner and mode do not count; its name does where the folder is called
    byuser or bygroup.
    """
    with open(path, "rb") as file:
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


def broken(trouble: Trouble) -> Finding:
    """Return a Trouble as a finding."""
    code, text = "file", trouble.text
    if trouble.line:
        code, text = "line", f"{trouble.text}; a broken line refuses the whole file"
    path = reading.path_of(trouble.name)
    return Finding(BROKEN, code, path, trouble.line, text, trouble.repair)


def _unreadable(owner: Owner, path: str) -> Iterator[Finding]:
    access = read_access(path)
    if access is None or all(perm & R for perm in access.effective().values()):
        return
    if owner.folder == "byuser":
        user = identity_of(owner.ident)
        readable = permits(access, user.uid, {user.gid, *user.groups}, R)
    else:
        readable = permits(access, -1, {owner.ident}, R)
    if not readable:
        text = f"cannot be read by whom it is for ({access.text}), and so refuses"
        yield Finding(BROKEN, "unreadable", path, 0, text, f"chmod 0644 {shlex.quote(path)}")


@functools.lru_cache(None)
def _exists(folder: str, ident: int) -> bool:
    try:
        pwd.getpwuid(ident) if folder == "byuser" else grp.getgrgid(ident)
    except KeyError:
        return False
    return True


def _of_lines(
    path: str, lines: list[Line], owner: Owner | None, context: Context
) -> Iterator[Finding]:
    quoted = shlex.quote(path)
    for number, _, rule in lines:
        if not isinstance(rule, Rule):
            continue
        take_out = f"sed -i '{number}s/^/# /' {quoted}"
        if owner is None:
            parts = in_force(rule, reserved=False) + in_force(rule, reserved=True)
        else:
            parts = in_force(rule, owner.reserved)
        if not parts:
            code, text, repair = _never(rule, owner, number, quoted)
            yield Finding(WARNING, code, path, number, text, repair or take_out)
        elif min(part.port_min for part in parts) >= context.first_unprivileged:
            text = (
                f"ports from {context.first_unprivileged} on are not privileged here: everybody "
                "may bind them without a grant (sysctl net.ipv4.ip_unprivileged_port_start)"
            )
            yield Finding(WARNING, "not-privileged", path, number, text, take_out)
        else:
            shadows = [context.flags.shadow(part) for part in parts]
            if all(shadow.whole for shadow in shadows):
                first = shadows[0].flags[0].name
                text = f"is never reached: {CONFIG_DIR}/{first} decides before it, for everybody"
                yield Finding(WARNING, "shadowed", path, number, text, take_out)


def _never(rule: Rule, owner: Owner | None, number: int, quoted: str) -> tuple[str, str, str]:
    """Return code, text and repair for a line that covers nothing that is ever asked."""
    if rule.family == socket.AF_INET6 and rule.addr_min.startswith(MAPPED):
        inner = rule._replace(
            family=int(socket.AF_INET), addr_min=rule.addr_min[12:], addr_max=rule.addr_max[12:]
        )
        text = "never matches: a mapped address is judged as the IPv4 address inside it"
        return "mapped", text, f"sed -i '{number}c{rule_text(inner)}' {quoted}"
    if rule.port_max == 0 or owner is None:
        return "port-0", "never matches: port 0 means any free port and needs no grant", ""
    text = (
        "never matches: rules for ports 512 to 1023 count only in the file with a '!' in its name"
    )
    if owner.reserved:
        text = (
            "never matches: only rules for ports 512 to 1023 count in a file with '!' in its name"
        )
    who = user_of(owner.ident) if owner.folder == "byuser" else group_of(owner.ident)
    spec = spec_text(rule._replace(port_min=max(rule.port_min, 1)))
    grant = f"pybindctl grant --yes {shlex.quote(who.text)} {shlex.quote(spec)}"
    return "mark", text, f"{grant} && sed -i '{number}s/^/# /' {quoted}"
