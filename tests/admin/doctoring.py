# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared parts of the tests of doctor: run doctor, restore the installation."""

import json
import os
import pathlib
import subprocess

import ctl
import support
from support import HELPER, LIBRARY

CAPABILITY = "cap_net_bind_service=p"


def damage(command):
    """Do as root what damages the installation."""
    subprocess.run(command, shell=True, check=True, timeout=120, cwd="/", stdout=subprocess.DEVNULL)


def repaired():
    """Restore the installation after the test."""
    yield
    support.clear_config()
    for path in (HELPER, LIBRARY):
        os.chown(path, 0, 0)
        pathlib.Path(path).chmod(0o755)
    pathlib.Path(HELPER).parent.chmod(0o755)
    damage(f"setcap {CAPABILITY} {HELPER}")


def examine(*args, status=0, **options):
    """Return topic -> (level, text, repair) of the findings."""
    process = ctl.pybindctl("doctor", "--json", *args, **options)
    assert process.returncode == status, (process.stdout, process.stderr)
    answer = json.loads(process.stdout)
    assert answer["schema"] == 1
    assert answer["healthy"] == (status == 0)
    return {f["topic"]: (f["level"], f["text"], f["repair"]) for f in answer["findings"]}


def in_namespace(prefix, *args):
    """Run doctor under a command such as setpriv; return (status, output)."""
    done = subprocess.run(
        [*prefix, ctl.PYBINDCTL, "doctor", *args],
        capture_output=True,
        text=True,
        timeout=support.PATIENCE_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout
