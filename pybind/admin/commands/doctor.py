# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor and setup: what is wrong with the installation, and its repair."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import stat
from collections.abc import Iterator

import click

from ... import trust
from ...paths import CONFIG_DIR, FOLDERS, HELPER, REINSTALL
from ...permissions.errors import STATUS_NO, Failed, NeedsRoot
from .. import output
from ..doctor import filecaps, installation, kernel, setcap, wheel
from ..doctor.installation import BROKEN, OK, WARNING, Finding
from ..doctor.program import program as served

_COLOURS = {OK: output.GOOD, WARNING: output.WARNING, BROKEN: output.BAD}


@click.command("doctor")
@output.json_option
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[-- PROGRAM]...")
def doctor_command(as_json: bool, program: tuple[str, ...]) -> int:
    """Look at everything that pybind needs, and say what repairs it.

    The helper, the library, Python, the permission folders, the kernel, this
    process, and programs that got ports by setcap, which a grant replaces. With
    PROGRAM also how that would be served. Nothing is changed.

    Exit status: 0 nothing is broken (there may be warnings), 1 something is.
    """
    found = examine(program[0] if program else None)
    broken = any(finding.level == BROKEN for finding in found)
    if as_json:
        output.emit_json(healthy=not broken, findings=[finding._asdict() for finding in found])
    else:
        for finding in found:
            _print(finding)
    return STATUS_NO if broken else 0


def examine(program: str | None) -> list[Finding]:
    """Return all findings, in the order in which they depend on each other."""
    found = [
        *installation.helper_file(),
        *installation.library(),
        *installation.python(),
        *installation.folders(),
        *kernel.kernel(),
        *kernel.process(),
        kernel.proof(),
        *_capable_programs(),
    ]
    if program is not None:
        found.append(served(program))
    return found


def _capable_programs() -> list[Finding]:
    found = []
    for path, caps, interpreter in setcap.find(os.environ.get("PATH", "")):
        what = "every script of every user" if interpreter else "every user who starts it"
        text = (
            f"{path} has {caps}: it gives every port to {what}, "
            "and an upgrade of its package takes it off"
        )
        repair = (f"pybindctl grant USER 80 && setcap -r {shlex.quote(path)}",)
        topic = "interpreter with setcap" if interpreter else "program with setcap"
        found.append(Finding(WARNING, topic, text, repair))
    return found or [Finding(OK, "programs with setcap", "none has CAP_NET_BIND_SERVICE")]


def _print(finding: Finding) -> None:
    level = output.paint(f"{finding.level:8}", _COLOURS[finding.level])
    output.say(f"{level}{finding.topic}: {output.plain(finding.text)}")
    for command in finding.repair:
        output.say(f"{'':8}  as root: {output.plain(command)}")


@click.command("setup")
@click.option("--yes", is_flag=True, help="Trust a helper that another user could have replaced.")
def setup_command(yes: bool) -> int:
    """Repair the helper (owner, mode, capability) and the permission folders.

    For after a copy, a restored backup, or an upgrade that took the capability
    off. Does nothing where nothing is to be done. Needs root.

    From a wheel (pip) it first builds and installs all of it, outside the
    virtual environment.
    """
    if os.geteuid() != 0:
        raise NeedsRoot("only root can repair the installation", "as root: pybindctl setup")
    done = False
    try:
        built = wheel.install(yes) if wheel.is_one() else ()
        for line in itertools.chain(built, _repair_helper(yes), _repair_folders()):
            output.say(line)
            done = True
    except PermissionError as error:
        raise Failed(
            f"{error.filename or HELPER}: {error.strerror}, though asked as root",
            "look for a read-only or foreign file system: findmnt -T " + HELPER,
        ) from error
    if not done:
        output.say("nothing to do: helper and folders are as they should be")
    return 0


def _repair_helper(trusted: bool) -> Iterator[str]:
    try:
        fd = os.open(HELPER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Failed(f"{HELPER}: {error.strerror}", "to install it: " + REINSTALL) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Failed(f"{HELPER}: not a regular file", "put it aside, then: " + REINSTALL)
        if not trusted:
            _refuse_a_stranger(status)
        if (status.st_uid, status.st_gid) != (0, 0):
            os.fchown(fd, 0, 0)
            yield f"{HELPER}: owner was {status.st_uid}:{status.st_gid}, is root:root"
        if stat.S_IMODE(status.st_mode) != 0o755:
            os.fchmod(fd, 0o755)
            yield f"{HELPER}: mode was {stat.S_IMODE(status.st_mode):04o}, is 0755"
        before = filecaps.read(fd)  # after chown(2), which takes it off
        if before != filecaps.HELPERS:
            os.setxattr(fd, filecaps.ATTRIBUTE, filecaps.encode(filecaps.HELPERS))
            yield f"{HELPER}: capability was {before or 'missing'}, is {filecaps.HELPERS}"
    finally:
        os.close(fd)


def _refuse_a_stranger(status: os.stat_result) -> None:
    """Give no capability to a file that somebody else could have written.

    Not yet executed, it may be anything: with the capability it would be every
    user's way to every port.
    """
    folder = os.stat(os.path.dirname(HELPER))
    for name, what in ((HELPER, status), (os.path.dirname(HELPER), folder)):
        if trust.others_can_write(what):
            raise Failed(
                f"{name} has owner {what.st_uid}, mode {stat.S_IMODE(what.st_mode):04o}: another "
                "user could have replaced the helper",
                "install it anew: " + REINSTALL,
                "or, if you are sure that it is the one you installed: pybindctl setup --yes",
            )


def _repair_folders() -> Iterator[str]:
    for path in (CONFIG_DIR, *(f"{CONFIG_DIR}/{name}" for name in FOLDERS)):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
            os.chmod(path, 0o755)  # whatever the umask
            yield f"{path}: made"
            continue
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            quoted = shlex.quote(path)
            raise Failed(f"{path}: is not a directory", f"put it aside: mv {quoted} {quoted}.old")
        owner, mode = (status.st_uid, status.st_gid), stat.S_IMODE(status.st_mode)
        if owner != (0, 0) or mode != 0o755:
            os.chown(path, 0, 0, follow_symlinks=False)
            os.chmod(path, 0o755)
            yield f"{path}: was {owner[0]}:{owner[1]} {mode:04o}, is root:root 0755"
