# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of `pybindctl doctor` that concern installed files; kernel.py has the others.

Each function returns good findings too, because an administrator wants to see what was
checked.
"""

from __future__ import annotations

import os
import pathlib
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import pybind

from ... import diagnose
from ...paths import FOLDERS, HELPER, LIBRARY, PREFIX, REINSTALL
from ...permissions import folders
from ...permissions.folders import owner_and_mode
from ...permissions.who import NOBODY
from ...repairs import sudo
from ...trust import others_can_replace, others_can_write
from . import filecaps

OK, WARNING, BROKEN = "ok", "warning", "broken"
SETUP = "sudo pybindctl setup"
ANEW = "sudo " + REINSTALL
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(pybind.__file__)))
_PREFIXES = ("/usr", "/usr/local", "/opt/pybind")


class Finding(NamedTuple):
    """The result of one check.

    level: OK, WARNING or BROKEN. topic: the checked thing. text: its state. repair:
    commands to type, each of which repairs it. advice: a sentence, if no command can.
    """

    level: str
    topic: str
    text: str
    repair: tuple[str, ...] = ()
    advice: str = ""


def from_lines(level: str, topic: str, lines: Sequence[str]) -> Finding:
    """Return the lines of an error as a Finding.

    The first line is the text. A line that ends in ": sudo COMMAND" gives a repair, any
    other line is advice.
    """
    text, *rest = lines
    typed = {line: re.search(r"[a-z]: (sudo .*)", line) for line in rest}
    repair = tuple(match[1] for match in typed.values() if match)
    return Finding(level, topic, text, repair, "; ".join(r for r in rest if not typed[r]))


def helper_file() -> list[Finding]:
    """Look at the helper: owner, mode, capability, and the mount it is on."""
    try:
        status = os.lstat(HELPER)
    except OSError as error:
        return [Finding(BROKEN, "helper", f"{HELPER}: {error.strerror}", (ANEW,))]
    if not stat.S_ISREG(status.st_mode):
        return [Finding(BROKEN, "helper", f"{HELPER} is not a regular file", (ANEW,))]
    findings = [_owner(status), _mode(status), *_writable_parents(HELPER)]
    if diagnose.replaceable(HELPER):
        return findings  # a file that others can replace must not get the capability
    return [*findings, _capability(), _mount()]


def _owner(status: os.stat_result) -> Finding:
    state = f"{HELPER}: owner {status.st_uid}, group {status.st_gid}"
    if (status.st_uid, status.st_gid) == (0, 0):
        return Finding(OK, "helper's owner", state)
    if status.st_uid == 0:
        return Finding(WARNING, "helper's owner", state + "; it should be root's", (SETUP,))
    text = f"{state}: who owns it can replace it, and may have done so"
    return Finding(BROKEN, "helper's owner", text, (ANEW,))


def _mode(status: os.stat_result) -> Finding:
    mode = stat.S_IMODE(status.st_mode)
    state = f"{HELPER}: mode {mode:04o}"
    if mode == 0o755:
        return Finding(OK, "helper's mode", state)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"{state}: others than root can write it, and may have done so"
        return Finding(BROKEN, "helper's mode", text, (ANEW,))
    if mode & (stat.S_ISUID | stat.S_ISGID):
        text = f"{state}: must never be setuid, its capability is all it needs"
    elif not mode & stat.S_IXOTH:
        text = f"{state}: other users cannot execute it"
    else:
        return Finding(WARNING, "helper's mode", f"{state}; it should be 0755", (SETUP,))
    return Finding(BROKEN, "helper's mode", text, (SETUP,))


def _capability() -> Finding:
    topic = "helper's capability"
    caps = filecaps.read(HELPER)
    if caps == filecaps.HELPERS:
        return Finding(OK, topic, str(caps))
    if caps is None:
        text = f"{HELPER} has lost its file capability (cp, chown, strip and tar take it off)"
    else:
        text = f"{HELPER} has {caps}, and must have exactly {filecaps.HELPERS}"
    return Finding(BROKEN, topic, text, (SETUP,))


def _mount() -> Finding:
    flags = os.statvfs(HELPER).f_flag
    mount = diagnose.mount_point(HELPER)
    for flag, name, effect, back in (
        (os.ST_NOSUID, "nosuid", "no file has a capability", "suid"),
        (os.ST_NOEXEC, "noexec", "no file is executable", "exec"),
    ):
        if flags & flag:
            text = f"{HELPER} is on {mount}, mounted {name}, where {effect}"
            repair = ("sudo " + diagnose.remount(HELPER, back),)
            return Finding(BROKEN, "helper's mount", text, repair, "and in /etc/fstab, to last")
    return Finding(OK, "helper's mount", f"{mount} is neither nosuid nor noexec")


def _writable_parents(path: str) -> list[Finding]:
    """Return findings about the folders above `path` whose entries others can replace."""
    findings = []
    folder = os.path.dirname(os.path.realpath(path))
    while folder != "/":
        status = os.stat(folder)
        if others_can_replace(status):
            text = (
                f"{folder} ({owner_and_mode(status)}): others than root can replace what is in it"
            )
            near = folder == os.path.dirname(path)
            repair = sudo(("chown", "root:root", folder), ("chmod", "go-w", folder))
            level, repair = (BROKEN, f"{repair} && {ANEW}") if near else (WARNING, repair)
            findings.append(Finding(level, "folder of the program", text, (repair,)))
        folder = os.path.dirname(folder)
    return findings


def others() -> list[Finding]:
    """Look for other installations: which pybind a user starts would depend on PATH."""
    topic = "other installations"
    findings = []
    for prefix in _PREFIXES:
        command = prefix + "/bin/pybind"
        if prefix == PREFIX or not os.path.lexists(command):
            continue
        if os.path.realpath(command) == os.path.realpath(PREFIX + "/bin/pybind"):
            continue
        text = (
            f"{command} is a second pybind beside {PREFIX}/bin/pybind, and which of them is "
            "started depends on PATH; remove the one that is not kept up to date"
        )
        findings.append(Finding(WARNING, topic, text, (_removal(prefix),)))
    return findings or [Finding(OK, topic, "none")]


def _removal(prefix: str) -> str:
    if prefix == "/usr":
        for tool, command in (
            ("dpkg", "sudo apt-get remove pybind-ports"),
            ("apk", "sudo apk del pybind-ports"),
            ("rpm", "sudo dnf remove pybind-ports"),
        ):
            if shutil.which(tool):
                return command
    folders = ("share/pybind", "lib/pybind", "libexec/pybind", "lib/systemd/system/pybindd.service")
    programs = ("bin/pybind", "bin/pybindctl", "sbin/pybindctl", "sbin/pybindd")
    parts = (f"{prefix}/{part}" for part in (*folders, *programs))
    return sudo(("rm", "-r", *filter(os.path.lexists, parts)))


def library() -> list[Finding]:
    """Look at the preload library, which programs of all users load."""
    topic = "preload library"
    try:
        status = os.stat(LIBRARY)
    except OSError as error:
        return [Finding(BROKEN, topic, f"{LIBRARY}: {error.strerror}", (ANEW,))]
    state = f"{LIBRARY}: owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"
    if others_can_write(status):
        text = state + ": others than root can write what users' programs load"
        return [Finding(BROKEN, topic, text, (ANEW,))]
    if not status.st_mode & stat.S_IROTH:
        repair = sudo(("chmod", "0755", LIBRARY))
        return [Finding(BROKEN, topic, state + ": other users cannot read it", (repair,))]
    return [Finding(OK, topic, state)]


_TRY = """
import sys
sys.path.insert(0, sys.argv[1])
missing = []
for name in ("click", "prctl", "seccomp"):
    try:
        __import__(name)
    except Exception:
        missing.append(name)
import pybind.supervise.kernel
if "click" not in missing:
    import pybind.commandline
print(*missing)
"""


def run_python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run code (argv[1] is the package's folder) as an ordinary user, if root is who asks.

    In a session of its own: whoever traces it must not come by root's terminal.
    """
    other: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", code, PACKAGE, *args],
        **(other if os.geteuid() == 0 else {}),
        start_new_session=True,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def python() -> list[Finding]:
    """Start the interpreter that `pybind` runs; root does so as an ordinary user."""
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
                return (sudo(("chmod", "a+rX", part)),)
    return (ANEW,)


def _modules(missing: list[str]) -> list[Finding]:
    findings = []
    for name in ("click", "prctl", "seccomp"):
        if name not in missing:
            findings.append(Finding(OK, f"python module {name}", "can be imported"))
            continue
        level, text = WARNING, "without it the supervised mode (Go and static programs) is not had"
        if name == "click":
            level, text = BROKEN, "without it pybind does not start"
        repair = f"sudo apt-get install python3-{name}"
        findings.append(Finding(level, f"python module {name}", f"is missing: {text}", (repair,)))
    return findings


def of_folders() -> list[Finding]:
    """Look at the folders on the way to the permission files."""
    troubles = {trouble.name: trouble for trouble in folders.broken()}
    for _, path, access in folders.closed():
        text = f"not every user can search it ({access.text})"
        troubles.setdefault(path, folders.Trouble(path, 0, text, folders.to_open(path, access)))
    findings = [_folder(path, troubles) for path in folders.PARENTS]
    findings += [_folder(folders.path_of(name), troubles) for name in FOLDERS]
    if folders.noexec(FOLDERS[0]):
        trouble = folders.on_noexec(FOLDERS[0])
        findings.append(Finding(BROKEN, "folders' mount", trouble.text, (trouble.repair,)))
    return findings


def _folder(path: str, troubles: dict[str, folders.Trouble]) -> Finding:
    topic = "folder " + path
    trouble = troubles.get(path)
    if trouble:
        repair = (trouble.repair,) if trouble.repair else ()
        return Finding(BROKEN, topic, f"{trouble.text}: what is asked there is refused", repair)
    try:
        return Finding(OK, topic, owner_and_mode(os.lstat(path)))
    except FileNotFoundError:
        return Finding(WARNING, topic, "does not exist: counts as empty", (SETUP,))
    except OSError as error:
        return Finding(BROKEN, topic, str(error.strerror))
