# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl lint: finds every broken or dangerous file, each with its repair."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable

import click

from ... import diagnose
from ...paths import CONFIG_DIR, FOLDERS
from ...permissions import folders, reading
from ...permissions.access import read_access
from ...permissions.errors import STATUS_INVALID, STATUS_NO, AdminError, Failed
from ...permissions.folders import Trouble, path_of
from ...permissions.names import Flag, Owner, parse_name
from ...permissions.precedence import FlagIndex
from .. import output
from ..asking import in_kernel
from ..lint import flag_files, rule_files
from ..lint.rule_files import BROKEN, Complaint, Context


def everything() -> tuple[list[Complaint], int]:
    """Lint all files and folders; returns the complaints and the number of files."""
    complaints = [_folder(trouble) for trouble in folders.broken()]
    if complaints and diagnose.in_user_namespace():  # there all files seem to be nobody's
        return complaints, 0
    complaints += flag_files.of_folders()
    try:
        content = reading.survey()
    except (NotADirectoryError, PermissionError) as error:
        if any(complaint.level == BROKEN for complaint in complaints):
            return complaints, 0
        raise Failed(f"{error.filename}: {error.strerror}", "repair: sudo pybindctl lint") from None
    context = _context(content)
    complaints += _on_noexec()
    for flag, access in content.flags:
        complaints += flag_files.of_flag(flag, access, context)
    for owner in output.progress(content.owners, "reading"):
        complaints += rule_files.of_rule_file(owner, context)
    complaints += map(flag_files.of_unknown, content.unknown)
    return complaints, len(content.flags) + len(content.owners) + len(content.unknown)


def these(paths: Iterable[str]) -> tuple[list[Complaint], int]:
    """Lint these files: files of CONFIG_DIR, and rule files in any other folder."""
    complaints: list[Complaint] = []
    context = Context(diagnose.first_unprivileged_port(), FlagIndex([]))
    surveyed = False
    count = 0
    for path in paths:
        count += 1
        folder, _, name = os.path.abspath(path).rpartition("/")
        try:
            if os.path.dirname(folder) != CONFIG_DIR or os.path.basename(folder) not in FOLDERS:
                complaints += rule_files.of_contents(path, context)
                continue
            os.lstat(path)
            if not surveyed:
                context, surveyed = _context(reading.survey()), True
            complaints += _of_name(os.path.basename(folder), name, context)
        except OSError as error:
            raise AdminError(f"{path}: {error.strerror}") from None
    return complaints, count


def _context(content: reading.Survey) -> Context:
    return Context(diagnose.first_unprivileged_port(), FlagIndex(flag for flag, _ in content.flags))


def _of_name(folder: str, name: str, context: Context) -> Iterable[Complaint]:
    file = parse_name(folder, name)
    if isinstance(file, Owner):
        return rule_files.of_rule_file(file, context)
    if isinstance(file, Flag):
        return flag_files.of_flag(file, read_access(path_of(file.name)), context)
    return [flag_files.of_unknown(file)]


def _folder(trouble: Trouble) -> Complaint:
    return Complaint(BROKEN, "folder", trouble.name, 0, trouble.text, trouble.repair)


def _on_noexec() -> list[Complaint]:
    return [flag_files.on_noexec(name) for name in FOLDERS[:2] if folders.noexec(name)]


@click.command("lint")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@click.option("--strict", is_flag=True, help="Exit status 1 where there are only warnings.")
@output.json_option
def lint_command(files: tuple[str, ...], strict: bool, as_json: bool) -> int:
    """Show every broken or dangerous file, with its repair.

    A broken file makes the helper refuse. A warning is about a file that grants more
    than it seems to, or nothing at all. With FILE only these files are checked: files
    in /etc/pybind with name, owner and mode, files anywhere else as rule files, by their
    lines only. So a configuration management can check a file before it puts the file
    into place.

    If pybindd runs, files that it leaves to the helper are notes: they are neither
    broken nor dangerous, and do not change the exit status.

    Exit status: 0 nothing is broken, 1 warnings (only with --strict), 3 broken.
    """
    gc.disable()  # a million lines without cycles
    complaints, count = these(files) if files else everything()
    broken = sum(complaint.level == BROKEN for complaint in complaints)
    left = _left_to_helper(files)
    if as_json:
        output.emit_json(
            files=count,
            broken=broken,
            warnings=len(complaints) - broken,
            findings=({**each._asdict(), "line": each.line or None} for each in complaints),
            left_to_helper=left,
        )
    else:
        for complaint in complaints:
            _show(complaint)
        _show_left(left or [])
        output.say(_summary(broken, len(complaints) - broken, count))
    if broken:
        return STATUS_INVALID
    return STATUS_NO if complaints and strict else 0


def _left_to_helper(files: tuple[str, ...]) -> list[dict[str, str]] | None:
    """Return the files that pybindd leaves to the helper; None if the kernel judges nothing.

    files: only these; empty for all. A reason that concerns all files, or files that
    pybindd does not name, is reported for CONFIG_DIR.
    """
    said = in_kernel.status()
    if said is None or not said["in_force"]:
        return None
    if said["left_all"]:
        return [{"file": CONFIG_DIR, "why": said["left_all"]}]
    left = [{"file": path_of(x["name"]), "why": x["why"]} for x in said["left"]]
    wanted = {os.path.abspath(path) for path in files}
    more = said["left_count"] - len(left)
    if more:
        left.append({"file": CONFIG_DIR, "why": f"{more} files more"})
    return [x for x in left if not wanted or x["file"] in wanted]


def _show_left(left: list[dict[str, str]]) -> None:
    for x in left:
        text = f"{x['file']}: pybindd leaves it to the helper: {x['why']}"
        output.say_prose(f"note: {text}", indent="  ")


def _summary(broken: int, warnings: int, files: int) -> str:
    where = f"{files} file" + ("" if files == 1 else "s")
    if not broken and not warnings:
        return f"nothing to repair in {where}"
    words = [f"{broken} broken"] if broken else []
    if warnings:
        words.append(f"{warnings} warning" + ("" if warnings == 1 else "s"))
    return f"{', '.join(words)} in {where}"


def _show(complaint: Complaint) -> None:
    line = f" line {complaint.line}" if complaint.line else ""
    colour = output.BAD if complaint.level == BROKEN else output.WARNING
    text = f"{complaint.level}: {complaint.file}{line}: {complaint.text}"
    output.say_prose(text, indent="  ", word=complaint.level, colour=colour)
    if complaint.repair:
        output.say(f"  {output.paint('repair', output.GOOD)}: {output.typed(complaint.repair)}")
