# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl while pybindd runs: what it has changed is in force in the kernel when it returns."""

import json
import signal
import subprocess

import pytest
import support
from support import PREFIX, rules

PYBINDCTL = PREFIX + "/bin/pybindctl"
CHANGES = 40


def pybindctl(*args, text=None):
    """Run pybindctl as root to its end."""
    return subprocess.run(
        [PYBINDCTL, *args], capture_output=True, text=True, input=text or "",
        timeout=2 * support.PATIENCE_S, check=False,
    )  # fmt: skip


def test_grant_and_revoke_count_when_they_return(daemon, user):
    """No waiting by the test: the kernel has each change before pybindctl has ended."""
    for _ in range(CHANGES):
        assert pybindctl("grant", str(support.UID), "80/tcp").returncode == 0
        assert user.may()
        assert pybindctl("revoke", str(support.UID), "80/tcp").returncode == 0
        assert not user.may()


def test_apply_counts_when_it_returns(daemon, user):
    """The same of a whole file of grants."""
    text = f'[[grant]]\nuser = "{support.UID}"\nports = ["80/tcp"]\n'
    for grants, granted in ((text, True), ("grant = []\n", False)):
        done = pybindctl("apply", "-", "--prune", text=grants)
        assert done.returncode == 0, done.stderr
        assert user.may() == granted


def test_pybindd_does_not_answer(daemon, user):
    """It is stopped: the files are written, pybindctl says what may still be, and does not hang."""
    rules(f"byuser/{support.UID}", "any,80/tcp")
    daemon.sync()
    daemon.process.send_signal(signal.SIGSTOP)
    done = pybindctl("revoke", str(support.UID), "80/tcp")
    assert done.returncode == 1
    assert "the files are written, but pybindd does not answer" in done.stderr
    assert "repair: sudo systemctl restart pybindd" in done.stderr
    support.wait_for(lambda: not user.may(), "the end of the lease")


@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_no_pybindd_no_waiting(command):
    """Where none runs, nothing is said of it."""
    done = pybindctl(command, str(support.UID), "80/tcp")
    assert done.returncode == 0
    assert "pybindd" not in done.stdout + done.stderr


def test_doctor_and_status_know_it(daemon):
    """What the kernel judges by, and the file that is left to the helper with its reason."""
    path = rules(f"byuser/{support.UID}", "any,80/tcp")
    daemon.sync()
    assert "pybindd: the kernel judges by 0 flag files and 1 rule files since" in (
        pybindctl("doctor", "-v").stdout
    )
    path.with_name("65533").hardlink_to(path)
    daemon.sync()
    for command in (("doctor", "-v"), ("status",)):
        assert "byuser/65533 (has 2 hard links)" in pybindctl(*command).stdout
    said = json.loads(pybindctl("status", "--json").stdout)["pybindd"]
    assert (said["pid"], said["left_count"]) == (daemon.process.pid, 2)


def test_doctor_without_it():
    """It is optional: that none runs is no fault, and doctor says whether it could."""
    said = pybindctl("doctor", "-v").stdout
    assert "pybindd: does not run, so the helper judges every bind" in said
    assert json.loads(pybindctl("status", "--json").stdout)["pybindd"] is None
