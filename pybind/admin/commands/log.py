# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl log: shows what pybindd logged: grants and refusals of the kernel.

Any user may write to the journal under the name pybindd. So only entries of root's
processes count: systemd itself sets their _UID (systemd.journal-fields(7)).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import click

from ...commandline import Count
from ...permissions.errors import STATUS_NO, AdminError, NeedsRoot
from ...permissions.who import user as user_named
from ...permissions.who import user_of
from .. import output

_PATH = "/usr/bin:/bin:/usr/local/bin"  # root's tools, whatever the caller's PATH
_LINE = re.compile(
    r"(?P<event>granted|refused) uid=(?P<uid>\d+)(?P<foreign> userns=other)? "
    r"(?P<protocol>tcp|udp) (?P<address>\S+):(?P<port>\d+) by=(?P<file>\S+) pid=(?P<pid>\d+) "
    r'comm="(?P<program>[^"]*)"(?: why="(?P<why>[^"]*)")?(?: unlogged=(?P<unlogged>\d+))?'
)


@click.command("log")
@click.option("--user", metavar="USER", help="Show this account or uid alone.")
@click.option("-n", "--lines", default=50, show_default=True, type=Count(), metavar="N",
              help="How many of the newest lines to begin with.")  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines, until Ctrl-C.")
@output.json_option
def log_command(user: str | None, lines: int, follow: bool, as_json: bool) -> int:
    """Show the log of pybindd: what the kernel granted and refused.

    Needs root. Each line has the time, the verdict, the user, the port and the address,
    the permission file that decided, and the program. No user can forge a line. A user
    who binds very often loses lines of their own, never those of others.

    Exit status: 0 there are lines, 1 there are none.
    """
    if os.geteuid() != 0:
        raise NeedsRoot("the journal of all users is root's to read")
    if follow and as_json:
        raise AdminError("--json is one object, and --follow has no end: use one of them")
    uid = None if user is None else user_named(user).ident
    entries = (entry for entry in _journal(lines, follow) if uid is None or entry["uid"] == uid)
    if as_json:
        shown = list(entries)
        output.emit_json(entries=shown)
        return 0 if shown else STATUS_NO
    count = 0
    with contextlib.suppress(KeyboardInterrupt):
        for entry in entries:
            output.say(_text(entry))
            count += 1
    if not count:
        output.tell("note", "pybindd has logged nothing; does it run? sudo pybindctl doctor")
    return 0 if count else STATUS_NO


def _journal(lines: int, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield the entries of the journal, the oldest first. Raises AdminError."""
    program = shutil.which("journalctl", path=_PATH)
    if program is None:
        raise AdminError(
            "there is no journalctl here; pybindd logs to syslog, facility authpriv",
            "to see it: sudo grep pybindd /var/log/auth.log",
            "note: in such a file any user may call themselves pybindd (logger(1))",
        )
    argv = [program, "--identifier=pybindd", "_UID=0", "--output=json", f"--lines={lines}"]
    argv += ["--follow"] if follow else ["--no-pager", "--quiet"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    yield _entry(json.loads(line))
        finally:
            process.terminate()


def _entry(record: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of one entry; if _LINE does not match, only its text."""
    seconds = int(record["__REALTIME_TIMESTAMP"]) / 1e6
    when = datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
    message = str(record["MESSAGE"])
    match = _LINE.fullmatch(message)
    if not match:
        return {"time": when, "event": "note", "uid": None, "text": message}
    numbers = {name: int(match[name]) for name in ("uid", "port", "pid")}
    words = {name: match[name] for name in ("event", "protocol", "address", "program", "why")}
    return {
        "time": when,
        **words,
        **numbers,
        "file": None if match["file"] == "-" else match["file"],
        "other_user_namespace": bool(match["foreign"]),
        "unlogged": int(match["unlogged"] or 0),
    }


def _text(entry: dict[str, Any]) -> str:
    when = entry["time"][:19].replace("T", " ")
    if entry["event"] == "note":
        return f"{when}  {entry['text']}"
    colour = output.GOOD if entry["event"] == "granted" else output.BAD
    words = [
        when,
        output.paint(entry["event"], colour),
        user_of(entry["uid"]).text + ("+userns" if entry["other_user_namespace"] else ""),
        f"{entry['port']}/{entry['protocol']}",
        entry["address"],
        f"by {entry['file'] or 'no file'}",
        f"{entry['program']} ({entry['pid']})",
    ]
    if entry["why"]:
        words.append(entry["why"])
    if entry["unlogged"]:
        words.append(f"{entry['unlogged']} more were not logged")
    return "  ".join(words)
