# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of lint about flag files, folders, and files that the helper never asks."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
from collections.abc import Iterator

from ...paths import CONFIG_DIR, FOLDERS
from ...permissions import folders, reading
from ...permissions.access import (
    GROUP_OBJ,
    MASK,
    NAMED_GROUP,
    NAMED_USER,
    OTHER,
    USER_OBJ,
    Access,
    X,
)
from ...permissions.folders import path_of
from ...permissions.names import LEFT_OVER, Flag, Unknown, parse_name
from ...permissions.reading import FILE_SIZE_MAX
from ...permissions.spec import spec_text
from ...repairs import put_away, sudo
from .rule_files import BROKEN, WARNING, Complaint, Context


def of_flag(flag: Flag, access: Access | None, context: Context) -> Iterator[Complaint]:
    """Yield the complaints about a file in byport or byaddr."""
    path = path_of(flag.name)
    port, remove = flag.rule.port_min, sudo(("rm", path))
    if access is None:
        trouble = reading.flag_kind(flag)
        yield Complaint(BROKEN, "flag-kind", path, 0, trouble.text, trouble.repair)
        return
    yield from _who_may(path, spec_text(flag.rule), access)
    if port >= context.first_unprivileged:
        text = (
            f"port {port} is not privileged here: everybody may bind it without a grant "
            "(sysctl net.ipv4.ip_unprivileged_port_start)"
        )
        yield Complaint(WARNING, "not-privileged", path, 0, text, remove)
    shadow = context.flags.shadow(flag.rule, flag)
    if shadow.whole:
        names = " and ".join(path_of(other.name) for other in shadow.flags)
        text = f"is never reached: {names} decides before it"
        yield Complaint(WARNING, "shadowed", path, 0, text, remove)


def _who_may(path: str, spec: str, access: Access) -> Iterator[Complaint]:
    holders = {key for key, perm in access.effective().items() if perm & X}
    tags = {tag for tag, _ in holders}
    if OTHER in tags:
        text = "is executable for others: every user and service of this host may bind the port"
        yield Complaint(WARNING, "everyone", path, 0, text, sudo(("chmod", "o-x", path)))
    if access.uid != 0:
        text = f"belongs to uid {access.uid}, who can open it to anybody with chmod"
        commands: list[tuple[str, ...]] = [("chown", "root", path)]
        if USER_OBJ in tags:
            commands.append(("pybindctl", "grant", "--yes", str(access.uid), spec))
        yield Complaint(WARNING, "flag-owner", path, 0, text, sudo(*commands))
    if not tags or (tags == {USER_OBJ} and access.uid == 0):
        text = (
            f"refuses the port to everybody, whatever other files grant ({access.text}); to "
            f"give it to somebody: sudo pybindctl grant USER {spec}"
        )
        yield Complaint(WARNING, "grants-nobody", path, 0, text, sudo(("rm", path)))
    for tag, ident in sorted(holders):
        gid = access.gid if tag == GROUP_OBJ else ident
        if tag == NAMED_USER and not _known(pwd.getpwuid, ident):
            text, who = f"there is no user {ident}", str(ident)
        elif tag in (NAMED_GROUP, GROUP_OBJ) and not _known(grp.getgrgid, gid):
            text, who = f"there is no group {gid}", f"@{gid}"
        else:
            continue
        text = f"is executable for somebody who does not exist: {text} on this host"
        code = "no-user" if tag == NAMED_USER else "no-group"
        yield Complaint(WARNING, code, path, 0, text, sudo(("pybindctl", "revoke", who, spec)))


def _known(look_up: object, ident: int) -> bool:
    try:
        look_up(ident)  # type: ignore[operator]
    except KeyError:
        return False
    return True


def of_unknown(unknown: Unknown) -> Complaint:
    """Return the complaint about a file that the helper never asks."""
    path = path_of(unknown.name)
    folder, _, name = unknown.name.partition("/")
    if name.startswith(".") and name.endswith(LEFT_OVER):
        return Complaint(WARNING, "left-over", path, 0, unknown.why, sudo(("rm", path)))
    meant = _number_of(folder, name) or _respelled(folder, name, unknown.why)
    if meant is None:
        return Complaint(WARNING, "unknown-name", path, 0, unknown.why, put_away(path))
    target = path_of(f"{folder}/{meant}")
    repair = sudo(("mv", path, target))
    if os.path.lexists(target):
        repair = put_away(path)
        if folder in FOLDERS[2:]:
            repair = sudo(("sh", "-c", _append(path, target)), ("rm", path))
    text = unknown.why
    if folder in FOLDERS[2:]:
        text = f"{name} is a name: files carry numbers, and {folder}/{meant} is what counts"
    return Complaint(WARNING, "name", path, 0, text, repair)


def _number_of(folder: str, name: str) -> str | None:
    """Return the file name with the number of an account in place of its name; or None."""
    if folder not in FOLDERS[2:]:
        return None
    mark = "!" if name.startswith("!") else ""
    word = name[len(mark) :]
    try:
        if folder == "byuser":
            return f"{mark}{pwd.getpwnam(word).pw_uid}"
        return f"{mark}{grp.getgrnam(word.lstrip('@')).gr_gid}"
    except (KeyError, ValueError):
        return None


def _respelled(folder: str, name: str, why: str) -> str | None:
    """Return the name that the helper would ask, if the meaning of this one is clear; or None."""
    spelled = re.match(f"is spelled {folder}/([^ ]+): ", why)
    bare = name.lstrip("!")
    tries = [bare, f"!{bare}", re.sub("^(!?)::ffff:", r"\1", name), name.lower()]
    for word in [spelled[1], *tries] if spelled else tries:
        if word != name and isinstance(parse_name(folder, word), Flag):
            return word
    return None


def _append(path: str, target: str) -> str:
    """Return the command for sh(1) that appends one file to another."""
    with open(target, "rb") as file:
        whole = file.read(FILE_SIZE_MAX)
    add = f"cat {shlex.quote(path)} >>{shlex.quote(target)}"
    unended = whole and not whole.endswith(b"\n")
    return f"echo >>{shlex.quote(target)} && {add}" if unended else add


def on_noexec(folder: str) -> Complaint:
    """Return the complaint about a folder that is mounted noexec."""
    trouble = folders.on_noexec(folder)
    return Complaint(BROKEN, "noexec", trouble.name, 0, trouble.text, trouble.repair)


def of_folders() -> Iterator[Complaint]:
    """Yield complaints about folders that some users cannot search, and about unknown names."""
    for _, path, access in folders.closed():
        entries = access.effective()
        some = any(perm & X for (tag, _), perm in entries.items() if tag not in (USER_OBJ, MASK))
        repair = folders.to_open(path, access)
        text = f"not every user can search it ({access.text}); who cannot is refused"
        yield Complaint(WARNING if some else BROKEN, "folder-search", path, 0, text, repair)
    try:
        names = sorted(os.listdir(os.fsencode(CONFIG_DIR)))
    except OSError:
        return
    for raw in names:
        name = raw.decode("utf-8", "backslashreplace")
        if name in FOLDERS or name.startswith("."):  # .git, .gitignore, our lock
            continue
        path = path_of(name)
        text, repair = "the helper never looks at it", put_away(path)
        if name == "byuid":
            text = "is authbind's name for byuser"
            repair = sudo(("pybindctl", "import", "authbind", "--apply", CONFIG_DIR))
            repair += f" && {put_away(path)}"
        yield Complaint(WARNING, "unknown-name", path, 0, text, repair)
