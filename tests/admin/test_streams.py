# SPDX-License-Identifier: GPL-3.0-or-later
"""The exit status is that of the answer, whatever standard output is."""

import subprocess

import ctl
import pytest
from support import OTHER_UID, PATIENCE_S, UID, flag, rules

FULL, CLOSED, NO_READER = ">/dev/full", ">&-", "no reader"


def run(how, *arguments, stdin=""):
    """Run pybindctl with this standard output; return its status and standard error."""
    words = " ".join(f"'{word}'" for word in (ctl.PYBINDCTL, *map(str, arguments)))
    # bash waits for the reader to end; the first write then has nobody to take it
    script = f"{words} {how}"
    if how == NO_READER:
        script = f"exec 3> >(exec true); wait $!; {words} >&3"
    process = subprocess.run(
        ["bash", "-c", script], input=stdin, capture_output=True, text=True, check=False,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert "Traceback" not in process.stderr, process.stderr
    assert "Exception" not in process.stderr, process.stderr
    return process.returncode, process.stderr


@pytest.mark.parametrize("how", [FULL, CLOSED, NO_READER])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["check", "80", "--user", UID], 0),
        (["check", "80", "--user", OTHER_UID], 1),
        (["explain", "80", "--user", UID], 0),
        (["explain", "80", "--user", OTHER_UID], 1),
        (["lint"], 0),
        (["check", "nonsense"], 2),
        (["grant", UID, "81"], 0),
        (["revoke", UID, "81"], 0),
        (["apply", "-"], 0),
        (["apply", "-", "--check"], 1),
        (["import", "portacl", f"uid:{UID}:tcp:25"], 0),
        (["import", "portacl", f"uid:{UID}:tcp:25", "--apply"], 0),
    ],
)
def test_status_is_the_answers(how, arguments, status):
    """A command whose status is the answer keeps its status, and does its work."""
    flag("byport/80")
    text = f'[[grant]]\nuser = {UID}\nports = ["82"]\n'
    found, err = run(how, *arguments, stdin=text)
    assert found == status, err
    assert ("standard output: No space left" in err) == (how == FULL and status != 2)
    if "grant" in arguments or "--apply" in arguments:
        assert ctl.lines(f"byuser/{UID}") == ["any,81" if "grant" in arguments else "any,25/tcp"]


@pytest.mark.parametrize("arguments", [["export"], ["list"], ["status"], ["lint", "--json"]])
def test_output_that_is_the_answer(arguments):
    """A full disk makes export fail; a closed output or a reader that left does not."""
    rules(f"byuser/{UID}", "any,80")
    status, err = run(FULL, *arguments)
    assert status == 1
    assert "standard output: No space left" in err
    for how in (CLOSED, NO_READER):
        assert run(how, *arguments) == (0, "")


def test_standard_error_too():
    """The status tells the error even if nobody reads standard error."""
    process = subprocess.run(
        ["bash", "-c", f"{ctl.PYBINDCTL} check nonsense 2>/dev/full >/dev/full"], check=False
    )
    assert process.returncode == 2


def test_closed_descriptors_are_no_files_of_ours():
    """With stdin, stdout and stderr closed, no output gets into a file that was opened."""
    rules(f"byuser/{UID}", "any,80")
    command = f"{ctl.PYBINDCTL} grant {UID} 81 <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0
    assert ctl.lines(f"byuser/{UID}") == ["any,80", "any,81"]
