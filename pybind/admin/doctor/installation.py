# SPDX-License-Identifier: GPL-3.0-or-later
"""What `pybindctl doctor` looks at in the installed files; kernel.py has the rest.

Each function returns findings, the good ones too: an administrator wants to
see what was looked at.
"""

from __future__ import annotations

import os
import pathlib
import platform
import shlex
import stat
import subprocess
import sys
from typing import Any, NamedTuple

import pybind

from ... import diagnose, trust
from ...paths import CONFIG_DIR, FOLDERS, HELPER, LIBRARY, REINSTALL
from ...permissions.who import NOBODY
from . import filecaps

OK, WARNING, BROKEN = "ok", "warning", "broken"
SETUP = "pybindctl setup"
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(pybind.__file__)))


class Finding(NamedTuple):
    """One thing that was looked at: level, what, how it is, and what root types to repair it."""

    level: str
    topic: str
    text: str
    repair: tuple[str, ...] = ()


def helper_file() -> list[Finding]:
    """Look at the helper: there, root's, 0755, its one capability, where that counts."""
    try:
        status = os.lstat(HELPER)
    except OSError as error:
        return [Finding(BROKEN, "helper", f"{HELPER}: {error.strerror}", (REINSTALL,))]
    if not stat.S_ISREG(status.st_mode):
        return [Finding(BROKEN, "helper", f"{HELPER} is not a regular file", (REINSTALL,))]
    found = [_owner(status), _mode(status), _capability(), _mount()]
    return [*found, *_writable_parents(HELPER)]


def _owner(status: os.stat_result) -> Finding:
    what = f"{HELPER}: owner {status.st_uid}, group {status.st_gid}"
    if (status.st_uid, status.st_gid) == (0, 0):
        return Finding(OK, "helper's owner", what)
    if status.st_uid == 0:
        return Finding(WARNING, "helper's owner", what + "; it should be root's", (SETUP,))
    text = f"{what}: who owns it can replace it, and root's rules with it"
    return Finding(BROKEN, "helper's owner", text, (REINSTALL, SETUP + " --yes"))


def _mode(status: os.stat_result) -> Finding:
    mode = stat.S_IMODE(status.st_mode)
    what = f"{HELPER}: mode {mode:04o}"
    if mode == 0o755:
        return Finding(OK, "helper's mode", what)
    if mode & (stat.S_ISUID | stat.S_ISGID):
        text = f"{what}: must never be setuid, its capability is all it needs"
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"{what}: others than root can change it"
        return Finding(BROKEN, "helper's mode", text, (REINSTALL, SETUP + " --yes"))
    elif not mode & stat.S_IXOTH:
        text = f"{what}: other users cannot execute it"
    else:
        return Finding(WARNING, "helper's mode", f"{what}; it should be 0755", (SETUP,))
    return Finding(BROKEN, "helper's mode", text, (SETUP,))


def _capability() -> Finding:
    topic = "helper's capability"
    caps = filecaps.read(HELPER)
    if caps == filecaps.HELPERS:
        return Finding(OK, topic, str(caps))
    if caps is None:
        text = "it has lost its file capability (cp, strip, chown and plain tar take it off)"
    else:
        text = f"it is {caps}, and must be exactly {filecaps.HELPERS}"
    return Finding(BROKEN, topic, text, (SETUP, f"setcap cap_net_bind_service=p {HELPER}"))


def _mount() -> Finding:
    flags = os.statvfs(HELPER).f_flag
    mount = diagnose.mount_point(HELPER)
    for flag, name, effect, back in (
        (os.ST_NOSUID, "nosuid", "no file has a capability", "suid"),
        (os.ST_NOEXEC, "noexec", "no file is executable", "exec"),
    ):
        if flags & flag:
            text = f"{HELPER} is on {mount}, mounted {name}, where {effect}"
            repair = diagnose.remount(HELPER, back)
            return Finding(BROKEN, "helper's mount", text, (repair, "and in /etc/fstab"))
    return Finding(OK, "helper's mount", f"{mount} is neither nosuid nor noexec")


def _writable_parents(path: str) -> list[Finding]:
    """Warn about a folder above `path` in which another user can put something else."""
    found = []
    folder = os.path.dirname(os.path.realpath(path))
    while folder != "/":
        status = os.stat(folder)
        if trust.others_can_replace(status):
            text = (
                f"{folder} (owner {status.st_uid}, group {status.st_gid}, mode "
                f"{stat.S_IMODE(status.st_mode):04o}): others than root can replace what is in it"
            )
            quoted = shlex.quote(folder)
            repair = f"chown root {quoted} && chmod go-w {quoted}"
            found.append(Finding(WARNING, "folder of the program", text, (repair,)))
        folder = os.path.dirname(folder)
    return found


def library() -> list[Finding]:
    """Look at the preload library: other users' programs load it."""
    topic = "preload library"
    try:
        status = os.stat(LIBRARY)
    except OSError as error:
        return [Finding(BROKEN, topic, f"{LIBRARY}: {error.strerror}", (REINSTALL,))]
    what = f"{LIBRARY}: owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"
    repair = f"chown root:root {LIBRARY} && chmod 0755 {LIBRARY}"
    if trust.others_can_write(status):
        text = what + ": others than root can change what users' programs load"
        return [Finding(BROKEN, topic, text, (REINSTALL, repair))]
    if not status.st_mode & stat.S_IROTH:
        return [Finding(BROKEN, topic, what + ": other users cannot read it", (repair,))]
    return [Finding(OK, topic, what)]


_TRY = """
import sys
sys.path.insert(0, sys.argv[1])
missing = []
for name in ("click", "prctl", "seccomp"):
    try:
        __import__(name)
    except Exception:
        missing.append(name)
import pybind.supervise.filter
if "click" not in missing:
    import pybind.commandline
print(*missing)
"""


def run_python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run code (argv[1] is the package's folder) as an ordinary user, if root is who asks."""
    other: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", code, PACKAGE, *args],
        **(other if os.geteuid() == 0 else {}),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def python() -> list[Finding]:
    """Start the interpreter that `pybind` runs, as an ordinary user where that can be done."""
    interpreter = sys.executable
    who = f"uid {NOBODY}" if os.geteuid() == 0 else "you"
    try:
        done = run_python(_TRY)
    except (OSError, subprocess.SubprocessError) as error:
        text = f"{interpreter} cannot be started by {who}: {error}"
        return [Finding(BROKEN, "python", text, _reveal(interpreter))]
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        text = f"{interpreter} cannot run pybind for {who}: {last}"
        return [Finding(BROKEN, "python", text, _reveal(PACKAGE + "/pybind"))]
    version = platform.python_version()
    text = f"{interpreter} ({version}) and {PACKAGE} can be read by {who}"
    return [Finding(OK, "python", text), *_modules(done.stdout.split())]


def _reveal(path: str) -> tuple[str, ...]:
    for start in (path, os.path.realpath(path)):  # a venv's python3 is a link out of it
        for part in (start, *map(str, pathlib.PurePath(start).parents)):
            needed = 0o555 if os.path.isdir(part) or os.access(part, os.X_OK) else 0o444
            if os.stat(part).st_mode & needed != needed:
                return (f"chmod a+rX {shlex.quote(part)}", REINSTALL)
    return (REINSTALL,)


def _modules(missing: list[str]) -> list[Finding]:
    found = []
    for name in ("click", "prctl", "seccomp"):
        if name not in missing:
            found.append(Finding(OK, f"python module {name}", "can be imported"))
            continue
        level, text = WARNING, "without it the supervised mode (Go and static programs) is not had"
        if name == "click":
            level, text = BROKEN, "without it pybind does not start"
        repair = f"apt-get install python3-{name}"
        found.append(Finding(level, f"python module {name}", f"is missing: {text}", (repair,)))
    return found


def folders() -> list[Finding]:
    """Look at the permission folders: root's, closed to writers, open to readers."""
    found = [
        _folder(path, required=True) for path in ("/", os.path.dirname(CONFIG_DIR), CONFIG_DIR)
    ]
    found += [_folder(f"{CONFIG_DIR}/{name}", required=False) for name in FOLDERS]
    try:
        noexec = os.statvfs(f"{CONFIG_DIR}/byport").f_flag & os.ST_NOEXEC
    except OSError:
        noexec = 0
    if noexec:
        mount = diagnose.mount_point(CONFIG_DIR)
        text = f"{mount} is mounted noexec: no flag file in byport or byaddr can grant anything"
        repair = diagnose.remount(CONFIG_DIR, "exec")
        found.append(Finding(BROKEN, "folders' mount", text, (repair,)))
    return found


def _folder(path: str, required: bool) -> Finding:
    topic = "folder " + path
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        level = BROKEN if required else WARNING
        text = "does not exist: " + ("everything is refused" if required else "counts as empty")
        return Finding(level, topic, text, (SETUP,))
    except OSError as error:
        return Finding(BROKEN, topic, str(error.strerror))
    mode = stat.S_IMODE(status.st_mode)
    what = f"owner {status.st_uid}, mode {mode:04o}"
    repair = SETUP if path.startswith(CONFIG_DIR) else f"chown root {path} && chmod 0755 {path}"
    faults = trust.folder_faults(status)
    if trust.NO_FOLDER in faults:
        quoted = shlex.quote(path)
        text = "is not a directory (or a symbolic link to one): everything is refused"
        return Finding(BROKEN, topic, text, (f"mv {quoted} {quoted}.old && {SETUP}",))
    if trust.UNSAFE in faults:
        text = f"{what}: others than root can write it, so everything is refused"
        return Finding(BROKEN, topic, text, (repair,))
    if trust.CLOSED in faults:
        return Finding(BROKEN, topic, f"{what}: other users cannot search it", (repair,))
    return Finding(OK, topic, what)
