# SPDX-License-Identifier: GPL-3.0-or-later
"""An import is tried in a copy of /etc/pybind, and is all or nothing: killed, failed or not verified."""

import itertools
import os
import pathlib
import signal
import stat
import subprocess

import ctl
import pytest
import support
from ctl import AUTHBIND, check_grants, old_flag
from support import CONFIG, HELPER, OTHER_UID, UID, flag, rules

from pybind.admin.asking import ask
from pybind.admin.importers import rehearsal
from pybind.model import Address
from pybind.permissions.access import from_mode
from pybind.permissions.changing.writing import Change
from pybind.permissions.who import identity_of

authbind = pytest.fixture(autouse=True)(ctl.authbind_folders)


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
    assert check_grants("81")
    assert check_grants("82", 4242)


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
    assert check_grants("80", 4242)


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


def described(root):
    """Return name -> the attributes that decide, of everything in the permission folders."""
    found = {}
    for path in sorted(pathlib.Path(f"{root}{CONFIG}").rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        name = str(path.relative_to(f"{root}{CONFIG}"))
        found[name] = (status.st_uid, status.st_gid, status.st_mode, ctl.acl(path), content)
    return found


def test_copy_is_like_the_folders():
    """Every file of the copy has the owner, mode, list, lines and kind of the original."""
    flag("byport/80", uid=UID, mode=0o570)
    subprocess.run(["setfacl", "-m", f"u:{OTHER_UID}:x", flag("byport/81")], check=True)
    rules(f"byuser/{UID}", "any,82", mode=0o640, gid=2000)
    (CONFIG / "byport/83").mkdir(mode=0o700)
    os.mkfifo(CONFIG / "byaddr/::1,84")
    (CONFIG / "byaddr").chmod(0o750)
    with rehearsal.copy([]) as root:
        assert described(root) == described("")
        assert os.stat(root).st_mode & 0o7777 == 0o755
        assert os.stat(root).st_uid == 0
    assert not os.path.exists(root)


def test_the_copied_helper_cannot_be_traced():
    """No capability protects it from its user. A file that the user cannot read does (ptrace(2))."""
    with rehearsal.copy([]) as root:
        read = support.run(["cat", root + HELPER])
        assert (read.returncode, read.stdout) == (1, "")
        executed = support.run([root + HELPER])
        assert "Permission denied" not in executed.stderr


def test_links_stay_links():
    """A link stays a link in the copy, wherever it leads, so the helper refuses it there too."""
    flag("target")
    (CONFIG / "byport/80").symlink_to(CONFIG / "target")
    with rehearsal.copy([]) as root:
        assert os.path.islink(f"{root}{CONFIG}/byport/80")


def test_plan_is_carried_out_in_the_copy_alone():
    """The copy has the planned files; /etc/pybind does not."""
    rules(f"byuser/{UID}", "any,82", mode=0o640, gid=2000)
    flag("byport/81")
    before = ctl.snapshot()
    changes = [
        Change("byport/80", None, from_mode(0o755)),
        Change("byport/81", from_mode(0o750), None),
        Change(f"byuser/{UID}", b"any,82\n", b"any,83\n"),
    ]
    with rehearsal.copy(changes) as root:
        found = described(root)
        assert ctl.snapshot() == before
    assert found["byport/80"][2] == stat.S_IFREG | 0o755
    assert "byport/81" not in found
    assert found[f"byuser/{UID}"] == (0, 2000, stat.S_IFREG | 0o640, b"", b"any,83\n")


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_helper_of_the_copy(umask):
    """The copied helper reads the copy and has no capability; the original is unchanged."""
    rules(f"byuser/{OTHER_UID}", "any,80")
    address = Address(2, b"\x7f\0\0\1", 0, 80, False)
    before = os.umask(umask)
    try:
        with rehearsal.copy([Change("byport/80", None, from_mode(0o755))]) as root:
            reply = ask.ask(identity_of(UID), [address], root=root)[0]
            with pytest.raises(OSError, match="No data"):
                os.getxattr(root + HELPER, "security.capability")
    finally:
        os.umask(before)
    assert reply.name == "byport/80"
    assert not reply.capable
    assert os.getxattr(HELPER, "security.capability")
    assert ask.ask(identity_of(UID), [address])[0].name == ""


def test_gone_after_an_error():
    """The copy is removed after an error too."""
    with pytest.raises(RuntimeError), rehearsal.copy([]) as root:
        raise RuntimeError
    assert not os.path.exists(root)


def test_without_a_place():
    """Without a folder whose file system allows execution, the plan is shown but not tried."""
    (CONFIG / "byuser").rmdir()
    script = (
        "for place in /run /tmp /var/tmp; do mount -t tmpfs -o noexec tmpfs $place; done; "
        f"{ctl.PYBINDCTL} import portacl uid:{UID}:tcp:25"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert f"would be made /etc/pybind/byuser/{UID}" in done.stdout
    assert "not tried: the plan cannot be tried: /run, /tmp, /var/tmp are all" in done.stderr
