# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindd as a service: its unit, the scripts for other systems, and what messages say to type.

The commands are typed beside a real systemd.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import cgroups
import printed
import pytest
import support
from support import UID, rules

from pybind import pybindd as client

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "examples"))

import managers

SERVICES = support.REPOSITORY / "contrib/pybindd"
UNIT = pathlib.Path(support.PREFIX) / "lib/systemd/system/pybindd.service"
# Each of these options makes a mount namespace (systemd.exec(5)).
MAKES_A_NAMESPACE = (
    "Protect", "Private", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "TemporaryFileSystem",
    "DynamicUser", "RootDirectory", "RootImage", "MountAPIVFS", "ExecPaths", "NoExecPaths",
    "StateDirectory", "ExtensionImages",
)  # fmt: skip


def test_unit():
    """The unit is valid, off by default, and has three capabilities and no mount namespace."""
    done = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", UNIT], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    lines = UNIT.read_text().splitlines()
    assert "CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_NET_ADMIN" in lines
    assert f"ExecStart={support.PREFIX}/sbin/pybindd" in lines
    assert not [line for line in lines if line.startswith(MAKES_A_NAMESPACE)]
    wants = pathlib.Path("/etc/systemd/system/multi-user.target.wants")
    assert not (wants / "pybindd.service").is_symlink()


@pytest.mark.parametrize("name", ["openrc", "runit/run", "sysv"])
def test_scripts(name):
    """The scripts are executable, and shellcheck finds nothing."""
    path = SERVICES / name
    assert path.stat().st_mode & 0o111 == 0o111
    subprocess.run(["sh", "-n", path], check=True)
    subprocess.run(["shellcheck", path], check=True)


def test_sysv():
    """The init script starts, reloads and stops pybindd, and says whether it runs."""
    with cgroups.group() as cgroup:
        pathlib.Path("/etc/default").mkdir(exist_ok=True)
        settings = pathlib.Path("/etc/default/pybindd")
        settings.write_text(f"OPTIONS='--cgroup {cgroup}'\n")
        environ = {**os.environ, "DAEMON": cgroups.PYBINDD}

        def script(word):
            return subprocess.run([SERVICES / "sysv", word], env=environ).returncode

        try:
            assert script("status") == 3
            assert script("start") == 0
            support.wait_for(lambda: client.status() is not None, "pybindd to run")
            assert script("status") == 0
            before = client.sync()["table"]
            assert script("reload") == 0
            support.wait_for(lambda: client.sync()["table"] > before, "another table")
            assert script("restart") == 0
            support.wait_for(lambda: client.status() is not None, "pybindd to run again")
            assert script("stop") == 0
            assert client.status() is None
            settings.write_text("OPTIONS='--cgroup /nowhere'\n")
            assert script("start") == 1
        finally:
            script("stop")
            settings.unlink()


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
    typing(printed.said(said, "kernel._trial: sudo systemctl enable --now pybindd"))
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
    name = "granting.commit_and_wait: sudo systemctl restart pybindd"
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
    typing(printed.said(said, "kernel.pybindd_finding: sudo systemctl restart pybindd"))
    assert status(typing)
