# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl log: it shows the lines of the journal that root wrote.

No systemd runs here: a stand-in is mounted over journalctl(1). The stand-in records
its arguments and prints lines made by pybindd's own code.
"""

import json
import pathlib
import subprocess

import ctl
import printed
import pytest
import support

from pybind.kernel import layout, records

JOURNALCTL = pathlib.Path("/usr/bin/journalctl")
STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" >{folder}/arguments
cat {folder}/journal
"""


class Names:
    """The files' names by number, as pybindd has them."""

    def name(self, number):
        return {1: "byport/80", 2: "byuser/65534"}.get(number)


def line(event=layout.GRANTED, file=1, uid=support.UID, port=80, udp=0, comm=b"java", **given):
    """Return a line of pybindd's log, made by its own code."""
    fields = (0, given.get("low", 0), given.get("lost", 0), uid, 4711, file, port,
              given.get("family", 4), udp, event, given.get("foreign", 0), comm)  # fmt: skip
    return records.line_of(layout.RECORD.pack(*fields), Names())[1]


@pytest.fixture
def journal():
    """Return (a function that fills the journal, the folder of the stand-in)."""
    if not JOURNALCTL.exists():
        pytest.fail("journalctl is missing: apt-get install systemd")
    folder = support.scratch_dir()
    program = folder / "journalctl"
    program.write_text(STAND_IN.format(folder=folder))
    program.chmod(0o755)
    subprocess.run(["mount", "--bind", program, JOURNALCTL], check=True)

    def fill(*messages):
        entries = (
            {"MESSAGE": text, "__REALTIME_TIMESTAMP": "1795727850670625"} for text in messages
        )
        (folder / "journal").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        return folder

    yield fill
    subprocess.run(["umount", JOURNALCTL], check=True)


def test_lines(journal):
    """A row has verdict, user, port, address, file and program; only root's lines are read."""
    folder = journal(
        line(),
        line(layout.REFUSED, file=0, port=53, udp=1, comm=b"named"),
        line(layout.REFUSED_IDS, file=2, uid=4242, lost=7, foreign=1),
        "nothing is granted: Cannot allocate memory",
    )
    first, second, third, fourth = ctl.done("log").splitlines()
    assert first[20:].split() == [
        "granted",
        "nobody",
        "80/tcp",
        "0.0.0.0",
        "by",
        "byport/80",
        "java",
        "(4711)",
    ]
    assert "refused  nobody  53/udp  0.0.0.0  by no file  named (4711)" in second
    assert "refused  4242+userns" in third and "real and effective ids differ" in third
    assert "7 more were not logged" in third
    assert fourth[20:].strip() == "nothing is granted: Cannot allocate memory"
    asked = (folder / "arguments").read_text().split()
    assert {"_UID=0", "--identifier=pybindd", "--lines=50"} <= set(asked)


def test_json(journal):
    """--json gives one object with every field."""
    journal(line(layout.REFUSED, low=1, family=6, file=2, port=443))
    (entry,) = ctl.as_json("log")["entries"]
    assert entry["event"] == "refused" and entry["file"] == "byuser/65534"
    assert (entry["uid"], entry["port"], entry["protocol"]) == (support.UID, 443, "tcp")
    assert (entry["address"], entry["program"], entry["pid"]) == ("[::1]", "java", 4711)


def test_one_user(journal):
    """--user shows only that account; the status is 1 if there is no line for it."""
    journal(line(), line(uid=4242))
    assert len(ctl.done("log", "--user", "4242").splitlines()) == 1
    said = ctl.failed(1, "log", "--user", "4243")
    assert "pybindd has logged nothing" in said
    asked = printed.typed(said, "log.log_command: sudo pybindctl doctor")
    assert " checks passed" in asked


def test_a_name_that_a_program_chose(journal):
    """Control characters and quotes in a program's name do not reach the terminal."""
    journal(line(comm=b'a"\x1b[31m\\b'))
    out = ctl.done("log")
    assert "\x1b" not in out and r"a\x22\x1b[31m\x5cb (4711)" in out


def test_needs_root(journal):
    """An ordinary user is told to use sudo."""
    journal(line())
    done = support.run([ctl.PYBINDCTL, "log"])
    assert done.returncode == 4
    said = printed.typed(done.stderr, "cli._with_sudo: sudo pybindctl ...")
    assert "byport/80" in said


def test_no_journal(monkeypatch):
    """Without journalctl(1) the file of syslog is named, with what shows it."""
    log = pathlib.Path("/var/log/auth.log")
    before = log.read_bytes() if log.exists() else None
    hide = "mount --bind /dev/null /usr/bin/journalctl"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{hide} && exec "$0" log', ctl.PYBINDCTL],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done
    try:
        log.write_text("Nov 27 00:00:00 host pybindd[7]: granted\n")
        shown = printed.typed(done.stderr, "log._journal: sudo grep pybindd /var/log/auth.log")
        assert shown.endswith("granted\n")
    finally:
        log.unlink() if before is None else log.write_bytes(before)


def test_usage(journal):
    """--follow and --json exclude each other."""
    journal(line())
    assert "use one of them" in ctl.failed(2, "log", "--json", "--follow")


def test_a_line_speaks_to_no_terminal(journal):
    """Whatever a service of root's logs by that name, it is text."""
    journal("started \x1b]0;owned\x07", line().replace("java", "\x9b2J"))
    out = ctl.done("log")
    assert "started \\x1b]0;owned\\x07" in out
    assert not [char for char in out if not char.isprintable() and char != "\n"]
