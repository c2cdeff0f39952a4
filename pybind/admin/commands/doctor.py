# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor and setup: look for faults of the installation, and repair them."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator

import click

from ... import diagnose
from ...errors import HelperUnusable
from ...model import Address
from ...paths import CONFIG_DIR, FOLDERS, HELPER
from ...permissions import folders
from ...permissions.access import access_of, from_mode, give_folder
from ...permissions.changing.writing import as_failure
from ...permissions.delegations import delegations
from ...permissions.errors import STATUS_NO, AdminError, Failed, NeedsRoot
from ...permissions.who import everyone, identity_for
from ...repairs import sudo
from .. import output
from ..asking.ask import ask
from ..doctor import filecaps, installation, kernel, wheel
from ..doctor.installation import BROKEN, OK, WARNING, Finding
from ..doctor.program import program as served

_COLOURS = {OK: output.GOOD, WARNING: output.WARNING, BROKEN: output.BAD}


@click.command("doctor")
@output.json_option
@click.option("-v", "--verbose", is_flag=True, help="Show the good results too.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[-- PROGRAM]...")
def doctor_command(as_json: bool, verbose: bool, program: tuple[str, ...]) -> int:
    """Check everything that pybind needs, and show the repairs.

    It checks the helper, the library, Python, other installations, the permission
    folders and files, the kernel, this process, and programs that have ports by setcap, which a
    grant replaces. With PROGRAM it also shows how pybind would serve that program.
    Nothing is changed.

    Exit status: 0 nothing is broken (there may be warnings), 1 something is broken.
    """
    findings = examine(program[0] if program else None)
    broken = any(finding.level == BROKEN for finding in findings)
    if as_json:
        output.emit_json(healthy=not broken, findings=[finding._asdict() for finding in findings])
    else:
        for finding in findings:
            if verbose or finding.level != OK or finding.topic == "program":
                _print(finding)
        output.say(_verdict(findings, verbose))
    return STATUS_NO if broken else 0


def _verdict(findings: list[Finding], verbose: bool) -> str:
    passed = sum(finding.level == OK for finding in findings)
    if passed == len(findings):
        text = f"all {passed} checks passed"
    else:
        text = f"{passed} of {len(findings)} checks passed"
    return text if verbose else f"{text}; all of them: pybindctl doctor -v"


def examine(program: str | None) -> list[Finding]:
    """Return all findings; a cause comes before its effects."""
    findings = [
        *installation.helper_file(),
        *installation.library(),
        *installation.python(),
        *installation.others(),
        *installation.of_folders(),
        *_permission_files(),
        *kernel.kernel(),
        *kernel.process(),
        kernel.pybindd_finding(),
    ]
    causes = [finding for finding in findings if finding.level == BROKEN]
    proof = kernel.proof()
    if proof.level == OK or not causes:  # a failed proof is only the effect of the cause
        findings.append(proof)
    findings += _capable_programs()
    if program is not None:
        findings.append(served(program))
    return findings


def _permission_files() -> list[Finding]:
    """Return whether a permission file refuses; none where a folder is broken, which comes first."""
    if folders.broken():
        return []
    found = delegations().taken().refusing
    refusing = [trouble for trouble in found if not trouble.name.startswith("/")]
    if not refusing:
        return [Finding(OK, "permission files", "none refuses what it should grant")]
    first = refusing[0]
    more = "all that refuse: sudo pybindctl lint" if len(refusing) > 1 else ""
    commands = (first.repair,) if first.repair else ()
    text = f"{first.where}: {first.text}"
    return [Finding(BROKEN, "permission files", text, commands, more)]


def _capable_programs() -> list[Finding]:
    findings = []
    for path, caps, interpreter in filecaps.find_capable(os.environ.get("PATH", "")):
        whom = "every script of every user" if interpreter else "every user who starts it"
        text = (
            f"{path} has {caps}: it gives every port to {whom}, "
            "and an upgrade of its package takes it off"
        )
        repair = (sudo(("setcap", "-r", path)),)
        topic = "interpreter with setcap" if interpreter else "program with setcap"
        advice = "grant the port first: sudo pybindctl grant USER 80"
        findings.append(Finding(WARNING, topic, text, repair, advice))
    return findings or [Finding(OK, "programs with setcap", "none has CAP_NET_BIND_SERVICE")]


def _print(finding: Finding) -> None:
    level = f"{finding.level:8}"
    text = f"{level}{finding.topic}: {finding.text}"
    output.say_prose(text, indent=" " * 8, word=level, colour=_COLOURS[finding.level])
    if finding.advice:
        output.say_prose(f"{'':8}{finding.advice}", indent=" " * 8)
    for number, command in enumerate(finding.repair):
        word = output.paint("repair" if number == 0 else "or", output.GOOD)
        output.say(f"{'':8}{word}: {output.typed(command)}")


@click.command("setup")
@click.option("--yes", is_flag=True, help="Trust a helper that another user could have replaced.")
def setup_command(yes: bool) -> int:
    """Repair the helper and the permission folders.

    It repairs owner, mode and the helper's capability, which a copy, a restored backup
    or an upgrade may have removed. Needs root.

    From a wheel (pip) it first builds and installs everything, outside of the virtual
    environment.
    """
    if os.geteuid() != 0:
        raise NeedsRoot("only root can repair the installation")
    done = False
    failures: list[AdminError] = []
    built = wheel.install(yes) if wheel.is_one() else iter(())
    for steps in (built, _repair_folders(), _repair_helper(yes)):
        done |= _carried_out(steps, failures)
    if failures:
        raise Failed(*(line for error in failures for line in error.lines))
    if not done:
        output.say("nothing to do: helper and folders are as they should be")
    return 0


def _carried_out(steps: Iterator[str], failures: list[AdminError]) -> bool:
    """Take steps and print each; returns whether any was taken.

    An error goes to `failures`, so that the other steps are still taken.
    """
    done = False
    try:
        for line in steps:
            output.say(line)
            done = True
    except AdminError as error:
        failures.append(error)
    return done


def _repair_helper(trusted: bool) -> Iterator[str]:
    with as_failure(HELPER):
        try:
            fd = os.open(HELPER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Failed(f"{HELPER}: {error.strerror}", "repair: " + installation.ANEW) from None
        try:
            yield from _repair_open_helper(fd, trusted)
        finally:
            os.close(fd)


def _repair_open_helper(fd: int, trusted: bool) -> Iterator[str]:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise Failed(f"{HELPER}: is no regular file", "repair: " + installation.ANEW)
    if not trusted:
        _refuse_a_stranger()
    if (status.st_uid, status.st_gid) != (0, 0):
        os.fchown(fd, 0, 0)
        yield f"{HELPER}: owner was {status.st_uid}:{status.st_gid}, is root:root"
    if stat.S_IMODE(status.st_mode) != 0o755:
        os.fchmod(fd, 0o755)
        yield f"{HELPER}: mode was {stat.S_IMODE(status.st_mode):04o}, is 0755"
    before = filecaps.read(fd)  # read only now: fchown(2) removes the capability
    if before != filecaps.HELPERS:
        _refuse_another_program()
        os.setxattr(fd, filecaps.ATTRIBUTE, filecaps.encode(filecaps.HELPERS))
        yield f"{HELPER}: capability was {before or 'missing'}, is {filecaps.HELPERS}"


def _refuse_another_program() -> None:
    """Raise Failed if the file does not answer like the helper."""
    nothing = Address(int(socket.AF_INET), bytes(4), 0, 0, False)
    try:
        ask(identity_for(everyone()), [nothing])
    except HelperUnusable as error:
        raise Failed(error.lines[0], "repair: " + installation.ANEW) from None


def _refuse_a_stranger() -> None:
    """Raise Failed if another user could have written the file.

    The file may be any program. With the capability, it would give every user every port.
    """
    suspect = diagnose.replaceable(HELPER)
    if suspect:
        raise Failed(
            f"{suspect}: another user could have replaced the helper",
            "repair: " + installation.ANEW,
            "or, if you are sure that it is the one you installed: sudo pybindctl setup --yes",
        )


def _repair_folders() -> Iterator[str]:
    for trouble in folders.broken():
        if trouble.repair != installation.SETUP:  # nothing is changed below it
            repair = ("repair: " + trouble.repair,) if trouble.repair else ()
            raise Failed(f"{trouble.name}: {trouble.text}", *repair)
    for path in (CONFIG_DIR, *map(folders.path_of, FOLDERS)):
        with as_failure(path):
            yield from _repair_folder(path)


def _repair_folder(path: str) -> Iterator[str]:
    made = False
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)
        made = True
    # By descriptor: if others can write the folder above, they can replace what a name means.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = access_of(fd)
        if before != from_mode(0o755):
            give_folder(fd, from_mode(0o755))
    finally:
        os.close(fd)
    if made:
        yield f"{path}: made"
    elif before != from_mode(0o755):
        yield f"{path}: was {before.text}, is root:root 0755"
