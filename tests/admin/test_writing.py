# SPDX-License-Identifier: GPL-3.0-or-later
"""How permission files are written: whole even when pybindctl dies, and only where root alone writes.

pybindctl dies or fails at any system call: each file is old or new. A rewritten file keeps its
attributes, and where others could interfere root writes nothing.
"""

import errno
import fcntl
import os
import random
import signal
import stat
import subprocess
import threading
import time

import ctl
import printed
import pytest
import support
from ctl import done, failed, lines, pybindctl, snapshot
from support import CONFIG, OTHER_UID, UID, clear_config, flag, rules

from pybind.permissions.changing import writing
from pybind.permissions.errors import Failed

WHO = str(UID)
GROUP = 4711  # its members may write in a folder, by an administrator's mistake
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


def attributes(path):
    """Return everything about a file but its contents and times."""
    status = os.lstat(path)
    named = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), named


@pytest.mark.hostile(70)
@pytest.mark.parametrize("how", ["grant", "revoke", "apply", "prune"])
def test_attributes_of_a_rule_file_stay(how):
    """A rewritten rule file keeps its group, mode, list and extended attributes."""
    path = rules(f"byuser/{UID}", "# mine", "any,22", "any,80", gid=65534, mode=0o640)
    subprocess.run(["setfacl", "-m", f"u:{OTHER_UID}:r", path], check=True)
    os.setxattr(path, "user.note", b"kept by hand")
    before = attributes(path)
    text = f'[[grant]]\nuser = {UID}\nports = ["443", "80"]\n'
    if how == "grant":
        done("grant", WHO, "443")
    elif how == "revoke":
        done("revoke", WHO, "22")
    elif how == "apply":
        done("apply", "-", input=text)
    else:
        done("apply", "-", "--prune", input=text)
    assert lines(f"byuser/{UID}") != ["# mine", "any,22", "any,80"]
    assert attributes(path) == before


@pytest.mark.hostile(70)
def test_attributes_of_a_flag_file_stay():
    """A flag file that gets an entry keeps everything else."""
    path = flag("byport/80", gid=33)
    os.setxattr(path, "user.note", b"kept by hand")
    done("grant", WHO, "80")
    assert os.getxattr(path, "user.note") == b"kept by hand"
    assert path.stat().st_gid == 33
    done("revoke", WHO, "80")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


@pytest.mark.hostile(70)
def test_a_new_file_has_no_list_of_its_folder():
    """A default list of the folder gives nobody a right over a new file."""
    subprocess.run(["setfacl", "-d", "-m", f"u:{OTHER_UID}:rwx", CONFIG / "byport"], check=True)
    done("grant", "everyone", "80", "--yes")
    done("grant", WHO, "443")
    assert ctl.acl(CONFIG / "byport/80") == b""
    assert attributes(CONFIG / f"byuser/{UID}")[2:] == (0o644, {})


COMMANDS = [
    ("grant", "everyone", "80", "--yes"), ("grant", WHO, "443"), ("revoke", WHO, "22"),
    ("apply", "-"), ("apply", "-", "--prune"),
]  # fmt: skip


@pytest.mark.hostile(69)
@pytest.mark.parametrize("folder", ["byport", "byuser", "", "/etc"])
def test_nothing_is_written_below_an_unsafe_folder(folder):
    """Every command refuses to change an unsafe folder, and names it with a repair that works."""
    rules(f"byuser/{UID}", "any,22")
    flag("byport/25", mode=0o755)
    path = CONFIG / folder if folder != "/etc" else CONFIG.parent
    path.chmod(0o775)
    try:
        for command in COMMANDS:
            text = f'[[grant]]\nuser = {UID}\nports = ["443"]\n'
            err = failed(1, *command, input=text, words=[str(path), "nothing was changed"])
        name = "folders._unfit: sudo pybindctl setup"
        if folder == "/etc":
            name = "folders._unfit: sudo chown root:root ... && sudo chmod go-w ..."
        printed.typed(err, name)
        assert not path.stat().st_mode & 0o022
        done("grant", WHO, "443")
    finally:
        path.chmod(0o755)


@pytest.mark.hostile(69)
def test_a_member_swaps_files_under_root():
    """A group member swaps byport/80 for a link while root grants: no file outside changes."""
    outside = support.scratch_dir() / "secret"
    outside.write_text("root's")
    outside.chmod(0o600)
    byport = CONFIG / "byport"
    os.chown(byport, 0, GROUP)
    byport.chmod(0o775)
    swap = (
        "import os, sys\n"
        "os.chdir(sys.argv[1])\n"
        "while True:\n"
        "    for make in (lambda: os.symlink(sys.argv[2], 'x'), lambda: open('x', 'w').close()):\n"
        "        try:\n"
        "            make(); os.rename('x', '80')\n"
        "        except OSError:\n"
        "            pass\n"
    )
    member = support.as_user(["/usr/bin/python3", "-c", swap, byport, outside], gid=GROUP)
    try:
        support.wait_for(lambda: (byport / "80").is_symlink(), "the member to swap")
        # Control: code that trusts the name changes the file outside.
        support.wait_for(lambda: _naive(byport / "80", outside), "a naive chmod to be led astray")
        outside.chmod(0o600)
        for _ in range(5):
            for command in (("grant", "everyone", "80", "--yes"), ("setup",)):
                ctl.pybindctl(*command)
                assert stat.S_IMODE(outside.stat().st_mode) == 0o600
    finally:
        member.kill()
        member.wait()


def _naive(path, outside):
    os.chmod(path, 0o711)
    return stat.S_IMODE(outside.stat().st_mode) != 0o600


@pytest.mark.hostile(69)
@pytest.mark.parametrize("kind", ["link", "second name", "folder"])
def test_what_a_member_left_behind(kind):
    """A link or hard link to a file outside, left by a member, is not written through."""
    outside = support.scratch_dir() / "secret"
    outside.touch(mode=0o600)
    place = CONFIG / "byport/80"
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "folder":
        place.mkdir()
    else:
        outside = CONFIG.parent / "secret"
        outside.touch(mode=0o600)
        os.link(outside, place)
    try:
        before = attributes(outside)
        process = ctl.pybindctl("grant", "everyone", "80", "--yes")
        assert process.returncode == 1
        assert str(place) in process.stderr
        assert attributes(outside) == before
    finally:
        if kind == "second name":
            outside.unlink()


def test_waiting_is_not_silent():
    """A waiting pybindctl names the PID that it waits for, and goes on afterwards."""
    lock = CONFIG / ".pybindctl.lock"
    with open(lock, "w") as held:
        print(os.getpid(), file=held, flush=True)
        fcntl.flock(held, fcntl.LOCK_EX)
        said = threading.Event()
        process = subprocess.Popen(
            [ctl.PYBINDCTL, "grant", WHO, "80"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        line = process.stderr.readline()
        said.set()
        assert f"waiting for another pybindctl, process {os.getpid()}" in line
        lock.unlink()
    assert process.wait(support.PATIENCE_S) == 0
    process.communicate()


def test_immutable():
    """The error names an immutable file and the chattr that makes the file writable."""
    path = rules(f"byuser/{UID}", "any,22")
    if subprocess.run(["chattr", "+i", path], check=False).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        err = failed(1, "grant", WHO, "80", words=["Operation not permitted"])
        printed.typed(err, "writing._immutable: sudo chattr -i -a ...")
        done("grant", WHO, "80")
    finally:
        subprocess.run(["chattr", "-i", path], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (errno.EDQUOT, "writing._failed: df -h ..."),
        (errno.ENOENT, "writing._failed: sudo pybindctl setup"),
    ],
)
def test_while_writing(error, name):
    """What fails in the midst of writing: room is shown, folders are made anew."""
    if error == errno.ENOENT:
        (CONFIG / "byport").rmdir()
    with pytest.raises(Failed) as caught, writing.as_failure(f"{CONFIG}/byport/80"):
        raise OSError(error, os.strerror(error))
    shown = printed.typed("\n".join(caught.value.lines), name)
    assert "Filesystem" in shown or (CONFIG / "byport").is_dir()
