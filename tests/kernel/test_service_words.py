# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindd under a real systemd: what messages tell an administrator to type about its service."""

import json
import pathlib
import shutil
import signal
import sys

import cgroups
import printed
import pytest
import support
from support import UID, rules

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "examples"))

import managers

UNIT = pathlib.Path(support.PREFIX) / "lib/systemd/system/pybindd.service"
UNITS = pathlib.Path("/etc/systemd/system")
# Words other than systemctl's go to a shell beside that systemd.
SYSTEMCTL = 'shift; [ "$1" != typed ] || exec sh -c "$2"; exec systemctl --no-pager "$@"'


@pytest.fixture
def typing():
    """Run systemd with the unit of pybindd; give a function that types a command beside it."""
    shutil.rmtree(UNITS, ignore_errors=True)
    with cgroups.group() as cgroup, managers.control_groups() as groups:
        drop_in = UNITS / "pybindd.service.d/cgroup.conf"
        drop_in.parent.mkdir(parents=True)
        shutil.copy(UNIT, UNITS)
        start = f"ExecStart={cgroups.PYBINDD} --cgroup {cgroup}"
        drop_in.write_text(f"[Service]\nExecStart=\n{start}\n")
        argv = ["sh", "-c", managers.AS_PROCESS_1, "sh", managers.SYSTEM_UNITS,
                " ".join(managers.TARGETS), managers.SYSTEMD]  # fmt: skip
        with managers.started(groups, argv, ["sh", "-c", SYSTEMCTL, "sh"]) as run:

            def type_it(command, status=0):
                done = run("typed", f"{command} 2>&1")
                assert done.returncode == status, done
                return done.stdout

            try:
                yield type_it
            finally:
                run("stop", "pybindd")


def status(typing):
    """Return what a pybindd says of itself there, whose processes have other numbers here."""
    said = json.loads(typing("pybindctl status --json"))["pybindd"]
    assert said is None or said["in_force"]
    return said


def test_doctor_starts_it(typing):
    """Where it could run doctor says what starts it, now and at each boot."""
    said = typing("pybindctl doctor -v")
    typing(printed.said(said, "judging._trial: sudo systemctl enable --now pybindd"))
    assert status(typing)
    assert (UNITS / "multi-user.target.wants/pybindd.service").is_symlink()


def test_help_starts_it(typing):
    """The help of pybindd ends with the same."""
    said = typing(f"{cgroups.PYBINDD} --help")
    typing(
        printed.said(" ".join(said.split()), "daemon._parse: sudo systemctl enable --now pybindd")
    )
    assert status(typing)


def test_an_ordinary_user_is_told(typing):
    """Who may not load programs is told what does."""
    done = support.run([cgroups.PYBINDD, "--trial"])
    assert done.returncode == 3
    typing(printed.said(done.stderr, "obstacles.not_loaded: sudo systemctl start pybindd"))
    assert status(typing)


def test_one_that_does_not_answer(typing):
    """A pybindd that hangs is started anew, and what was granted meanwhile counts."""
    typing("systemctl start pybindd")
    pid = status(typing)["pid"]
    typing(f"kill -{signal.SIGSTOP.value} $(systemctl show -P MainPID pybindd)")
    said = typing(f"pybindctl grant {UID} 80", status=1)
    name = "in_force.commit_and_wait: sudo systemctl restart pybindd"
    typing(printed.said(said, name))
    after = status(typing)
    assert after["pid"] != pid
    assert after["rule_files"] == 1


def test_one_that_grants_nothing(typing):
    """Doctor's command has a pybindd that is not in force begin anew. A stand-in for its status."""
    rules(f"byuser/{UID}", "any,80")
    typing("systemctl start pybindd")
    path = pathlib.Path("/run/pybindd.json")
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "in_force": False, "why_not": "no memory"}))
    said = typing("pybindctl doctor")
    assert "grants nothing: no memory" in said
    typing(printed.said(said, "judging.finding: sudo systemctl restart pybindd"))
    assert status(typing)
