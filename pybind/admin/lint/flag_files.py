# SPDX-License-Identifier: GPL-3.0-or-later
"""What lint finds about flag files, folders, and files that the helper never looks at."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
from collections.abc import Iterator

from ... import diagnose
from ...paths import CONFIG_DIR, FOLDERS
from ...permissions import reading
from ...permissions.access import GROUP_OBJ, NAMED_GROUP, NAMED_USER, OTHER, USER_OBJ, Access, X
from ...permissions.names import LEFT_OVER, Flag, Unknown, parse_name
from ...trust import CLOSED, folder_faults
from .rule_files import BROKEN, WARNING, Context, Finding


def of_flag(flag: Flag, access: Access | None, context: Context) -> Iterator[Finding]:
    """Yield what is wrong with a file in byport or byaddr."""
    path = reading.path_of(flag.name)
    quoted, port = shlex.quote(path), flag.rule.port_min
    if access is None:
        text = "is a symbolic link, a folder or the like: refuses the port to everybody"
        yield Finding(BROKEN, "flag-kind", path, 0, text, f"mv {quoted} {quoted}.old")
        return
    yield from _who_may(path, quoted, access)
    if port >= context.first_unprivileged:
        text = (
            f"port {port} is not privileged here: everybody may bind it without a grant "
            "(sysctl net.ipv4.ip_unprivileged_port_start)"
        )
        yield Finding(WARNING, "not-privileged", path, 0, text, f"rm {quoted}")
    shadow = context.flags.shadow(flag.rule, flag)
    if shadow.whole:
        names = " and ".join(reading.path_of(other.name) for other in shadow.flags)
        text = f"is never reached: {names} decides before it"
        yield Finding(WARNING, "shadowed", path, 0, text, f"rm {quoted}")


def _who_may(path: str, quoted: str, access: Access) -> Iterator[Finding]:
    found = access.effective()
    holders = {key for key, perm in found.items() if perm & X}
    tags = {tag for tag, _ in holders}
    if OTHER in tags:
        text = "is executable for others: every user and service of this host may bind the port"
        yield Finding(WARNING, "everyone", path, 0, text, f"chmod o-x {quoted}")
    if access.uid != 0:
        text = f"belongs to uid {access.uid}, who can open it to anybody with chmod"
        repair = f"chown root {quoted}"
        if USER_OBJ in tags:
            repair += f" && setfacl -m u:{access.uid}:x {quoted}"
        yield Finding(WARNING, "flag-owner", path, 0, text, repair)
    if not tags or (tags == {USER_OBJ} and access.uid == 0):
        text = (
            f"refuses the port to everybody, whatever other files grant ({access.text}); to "
            f"give it to somebody: setfacl -m u:USER:x {quoted}"
        )
        yield Finding(WARNING, "grants-nobody", path, 0, text, f"rm {quoted}")
    for tag, ident in sorted(holders):
        if tag == NAMED_USER and not _known(pwd.getpwuid, ident):
            text, repair = f"there is no user {ident}", f"setfacl -x u:{ident} {quoted}"
        elif tag == NAMED_GROUP and not _known(grp.getgrgid, ident):
            text, repair = f"there is no group {ident}", f"setfacl -x g:{ident} {quoted}"
        elif tag == GROUP_OBJ and not _known(grp.getgrgid, access.gid):
            text, repair = f"there is no group {access.gid}", f"setfacl -m g::- {quoted}"
        else:
            continue
        text = f"is executable for somebody who does not exist: {text} on this host"
        yield Finding(
            WARNING, "no-user" if tag == NAMED_USER else "no-group", path, 0, text, repair
        )


def _known(look_up: object, ident: int) -> bool:
    try:
        look_up(ident)  # type: ignore[operator]
    except KeyError:
        return False
    return True


def of_unknown(unknown: Unknown) -> Finding:
    """Return what to do about a file that the helper never looks at."""
    path = reading.path_of(unknown.name)
    folder, _, name = unknown.name.partition("/")
    quoted = shlex.quote(path)
    if name.startswith(".") and name.endswith(LEFT_OVER):
        return Finding(WARNING, "left-over", path, 0, unknown.why, f"rm {quoted}")
    meant = _number_of(folder, name) or _respelled(folder, name, unknown.why)
    if meant is None:
        return Finding(WARNING, "unknown-name", path, 0, unknown.why, _put_away(path))
    target = reading.path_of(f"{folder}/{meant}")
    repair = f"mv {quoted} {shlex.quote(target)}"
    if os.path.lexists(target):
        repair = _put_away(path)
        if folder in FOLDERS[2:]:
            repair = f"(echo; cat {quoted}) >>{shlex.quote(target)} && rm {quoted}"
    text = unknown.why
    if folder in FOLDERS[2:]:
        text = f"{name} is a name: files carry numbers, and {folder}/{meant} is what counts"
    return Finding(WARNING, "name", path, 0, text, repair)


def _number_of(folder: str, name: str) -> str | None:
    """Return byuser's or bygroup's number for an account's name, with its '!'."""
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
    """Return the name that the helper would look for, where it can be seen what is meant."""
    spelled = re.match(f"is spelled {folder}/([^ ]+): ", why)
    bare = name.lstrip("!")
    tries = [bare, f"!{bare}", re.sub("^(!?)::ffff:", r"\1", name), name.lower()]
    for word in [spelled[1], *tries] if spelled else tries:
        if word != name and isinstance(parse_name(folder, word), Flag):
            return word
    return None


def _put_away(path: str) -> str:
    if path.isprintable() and "\\" not in path:
        return f"mv {shlex.quote(path)} {shlex.quote(os.path.join(pwd.getpwuid(0).pw_dir, ''))}"
    # Not a name to type, but as scan() wrote it down.
    return f"ls -b {os.path.dirname(path)}  (and mv it away)"


def on_noexec(folder: str) -> Finding:
    """Return that all flag files of a folder refuse."""
    path = reading.path_of(folder)
    mount = diagnose.mount_point(path)
    text = f"its file system is mounted noexec ({mount}), where no file is executable: all refuse"
    return Finding(BROKEN, "noexec", path, 0, text, diagnose.remount(path, "exec"))


def folders() -> Iterator[Finding]:
    """Yield folders that not everybody can search, and what lies beside the folders."""
    for path in (CONFIG_DIR, *map(reading.path_of, FOLDERS)):
        try:
            status = os.stat(path)
        except OSError:
            continue
        if CLOSED in folder_faults(status):
            mode = status.st_mode & 0o7777
            level = WARNING if mode & 0o011 else BROKEN
            text = f"not every user can search it (mode {mode:04o}); who cannot is refused"
            yield Finding(level, "folder-search", path, 0, text, f"chmod 0755 {path}")
    try:
        names = sorted(os.listdir(os.fsencode(CONFIG_DIR)))
    except OSError:
        return
    for raw in names:
        name = raw.decode("utf-8", "backslashreplace")
        if name in FOLDERS or name.startswith(".pybindctl"):
            continue
        path = reading.path_of(name)
        text, repair = "the helper never looks at it", _put_away(path)
        if name == "byuid":
            text = "is authbind's name for byuser"
            repair = f"pybindctl import authbind --apply {CONFIG_DIR} && {_put_away(path)}"
        yield Finding(WARNING, "unknown-name", path, 0, text, repair)
