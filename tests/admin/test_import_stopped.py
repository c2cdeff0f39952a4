# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import that is killed, fails or cannot be verified: all or nothing, and it says so."""

import itertools
import pathlib
import signal
import subprocess

import ctl
import importing
import pytest
import support
from importing import AUTHBIND, granted, old_flag
from support import CONFIG, OTHER_UID, UID, flag, rules

authbind = pytest.fixture(autouse=True)(importing.empty_folders)


def many_old_grants():
    for port in range(20, 28):
        old_flag(f"byport/{port}", uid=UID, gid=2000, mode=0o570)
    for uid in range(3000, 3020):
        (AUTHBIND / f"byuid/{uid}").write_text("127.0.0.1,80\n" * 50)


def test_killed_at_any_moment():
    """After a kill every file is whole, and the next run completes the import."""
    many_old_grants()
    apply = ("import", "authbind", "--apply")
    status, count, err = ctl.killed(0, "kill", apply)
    assert (status, err) == (0, "")
    complete = ctl.snapshot()
    seen = set()
    for at in range(1, count, count // 20):
        support.clear_config()
        assert ctl.killed(at, "kill", apply)[0] == -signal.SIGKILL
        here = {name: what for name, what in ctl.snapshot().items() if ".pybindctl" not in name}
        seen.add(len(here))
        for name, what in here.items():
            assert what == complete[name]
        assert ctl.pybindctl(*apply).returncode == 0
        assert ctl.snapshot() == complete
    assert len(seen) > 3


def test_failed_at_any_moment():
    """Whichever call fails, nothing is changed."""
    rules(f"byuser/{OTHER_UID}", "any,22", "any,81")
    flag("byport/82", gid=2000)
    old_flag("byport/80")
    old_flag("byport/81", gid=UID, mode=0o750)  # becomes a line: OTHER_UID has the port here
    old_flag("byport/82", uid=4242, mode=0o500)  # becomes an entry
    (AUTHBIND / f"byuid/{OTHER_UID}").write_text("127.0.0.1,25\n")
    before = ctl.snapshot()
    apply = ("import", "authbind", "--apply")
    failed = 0
    for at in itertools.count(1):
        status, count, err = ctl.killed(at, "fail", apply)
        if count < at:
            break
        if status == 0:  # a failure to clean up is no failure of the import
            continue
        failed += 1
        assert ctl.snapshot() == before, at
        assert "nothing was changed" in err, err
        assert "Traceback" not in err
    assert failed > 10
    assert granted("81")
    assert granted("82", 4242)


def test_no_room():
    """If one file cannot be written, none of the other files stays."""
    many_old_grants()
    script = (
        f"mount -t tmpfs -o mode=755,nr_inodes=30 tmpfs {CONFIG} && {ctl.PYBINDCTL} setup && "
        f"{ctl.PYBINDCTL} import authbind --apply; echo $?; find {CONFIG} -type f"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "1", done.stdout
    assert "No space left" in done.stderr
    assert "nothing was changed" in done.stderr


def test_plan_by_an_ordinary_user():
    """Whoever may read the files sees the plan, but only root can try the plan."""
    old_flag("byport/80")
    process = support.run([ctl.PYBINDCTL, "import", "authbind"])
    assert process.returncode == 0
    assert "would be made /etc/pybind/byport/80" in process.stdout
    assert "not tried: only root can try the plan" in process.stderr


def test_nothing_stays_of_a_trial():
    """The copy in which a plan is tried is removed, and only root could write to the copy."""
    old_flag("byport/80")
    ctl.done("import", "authbind")
    places = map(pathlib.Path, ("/run", "/tmp", "/var/tmp"))
    assert [path for place in places for path in place.glob("pybindctl-plan.*")] == []


def test_helper_without_its_capability():
    """Without the helper's capability the report says that nobody can bind, and the repair."""
    old_flag("byport/80")
    subprocess.run(["setcap", "-r", support.HELPER], check=True)
    try:
        assert ctl.pybindctl("import", "authbind").returncode == 3
        process = ctl.pybindctl("import", "authbind", "--apply")
    finally:
        subprocess.run(["setcap", "cap_net_bind_service=p", support.HELPER], check=True)
    assert process.returncode == 3
    assert "made /etc/pybind/byport/80" in process.stdout
    assert "not proved" in process.stderr
    assert f"refuses: {support.HELPER} has lost its file capability" in process.stderr
    assert "repair: sudo pybindctl setup" in process.stderr
    assert granted("80", 4242)


def test_nobody_can_be_asked():
    """An import that cannot ask as other users is made, but not called verified."""
    old_flag("byport/80")
    drop = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all", "sh", "-c"]
    command = [*drop, f"exec {ctl.PYBINDCTL} import authbind --apply"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "made /etc/pybind/byport/80" in process.stdout
    assert "not proved: cannot ask as uid" in process.stderr
    assert ctl.snapshot() != {}
