# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl dies or fails at any system call: each file is old or new, never half."""

import os
import random
import signal
import subprocess
import time

import ctl
import pytest
from ctl import done, pybindctl, snapshot
from support import CONFIG, OTHER_UID, UID, clear_config, flag, rules

GRANT = ("grant", str(UID), "80", "600", "443", "--yes")
APPLY = """
[[grant]]
user = "nobody"
ports = ["443", "80", "600"]
[[grant]]
everyone = true
ports = ["81"]
"""


def prepare():
    """Make files that the command will change or remove, and a list that it will extend."""
    clear_config()
    rules(f"byuser/{UID}", "# by hand", "any,22", *[f"any,{port}" for port in range(2000, 2400)])
    rules(f"bygroup/{OTHER_UID}", "any,99")
    flag("byport/80", gid=33)
    flag("byport/82", gid=0, mode=0o755)


def visible():
    return {name: at for name, at in snapshot().items() if not name.split("/")[1].startswith(".")}


@pytest.fixture(params=["grant", "apply"])
def command(request, tmp_path):
    if request.param == "grant":
        return GRANT
    (tmp_path / "wanted.toml").write_text(APPLY)
    return ("apply", str(tmp_path / "wanted.toml"), "--prune")


@pytest.mark.parametrize("what", ["kill", "ENOSPC"])
def test_at_each_call(command, what):
    """After SIGKILL each file is old or new, and a next run completes; an error undoes all."""
    prepare()
    before = visible()
    status, count, err = ctl.killed(0, what, command)
    assert status == 0, err
    after = visible()
    assert after != before
    assert count > 15
    for at in range(1, count + 1):
        prepare()
        status, _, err = ctl.killed(at, what, command)
        found = visible()
        assert "Traceback" not in err
        if what == "ENOSPC":
            assert status in (0, 1)
            assert found == (after if status == 0 else before), (at, err)
            continue
        assert status == -signal.SIGKILL
        for name in {*before, *after}:
            assert found.get(name) in (before.get(name), after.get(name)), (at, name)
        assert ctl.killed(0, what, command)[0] == 0
        assert snapshot() == after, at


def test_impatience(command):
    """Ctrl-C at any call, and at each call that undoes: all of the changes, or none of them."""
    prepare()
    before = visible()
    count = ctl.killed(0, "Ctrl-C", command)[1]
    after = visible()
    assert after != before
    for at in range(1, count + 1):
        prepare()
        ctl.killed(at, "Ctrl-C", command)
        assert visible() in (before, after), at


def test_killed_at_random():
    """The same holds for the installed command, killed at random moments."""
    prepare()
    before = visible()
    done(*GRANT)
    after = visible()
    chance = random.Random(4)
    for _ in range(15):
        prepare()
        with subprocess.Popen([ctl.PYBINDCTL, *GRANT], stdout=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.02, 0.15))
            process.kill()
        found = visible()
        for name in {*before, *after}:
            assert found.get(name) in (before.get(name), after.get(name)), name
    done(*GRANT)
    assert snapshot() == after
    assert sorted(os.listdir(CONFIG)) == ["byaddr", "bygroup", "byport", "byuser"]


def test_two_at_once():
    """Two commands wait for each other, so no grant is lost."""
    ports = range(2000, 2012)
    running = [
        subprocess.Popen([ctl.PYBINDCTL, "grant", str(UID), str(port)], stdout=subprocess.DEVNULL)
        for port in ports
    ]
    assert [process.wait(ctl.PATIENCE_S) for process in running] == [0] * len(ports)
    assert sorted(ctl.lines(f"byuser/{UID}")) == [f"any,{port}" for port in ports]
    assert pybindctl("grant", str(UID), "2000-2011").returncode == 0
    assert sorted(ctl.lines(f"byuser/{UID}")) == [f"any,{port}" for port in ports]
