# SPDX-License-Identifier: GPL-3.0-or-later
"""Permission files that change in every way while pybindd runs: cases 73, 74, 81 and 82."""

import errno
import mmap
import os
import pathlib
import signal
import subprocess
import threading

import pytest
import support
from reference import Caller
from running import worker
from support import CONFIG, flag, rules, wait_for


def test_case_73_storm(daemon, granted):
    """Files come and go without a pause; a port that no state grants is never granted."""
    stop = threading.Event()

    def storm():
        while not stop.is_set():
            for port in range(100, 140):
                flag(f"byport/{port}")
            for port in range(100, 140):
                (CONFIG / f"byport/{port}").unlink()

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(2000):
            assert not granted.may("127.0.0.1", 99)
            assert not granted.may("127.0.0.2", 22)
    finally:
        stop.set()
        thread.join()
    daemon.sync()
    assert granted.may()
    assert not granted.may("127.0.0.1", 100)


def test_case_73_queue_overflows(daemon, granted):
    """If events overflow the queue, pybindd reads all files again."""
    limit = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    daemon.process.send_signal(signal.SIGSTOP)
    paths_ = [CONFIG / "byport/a", CONFIG / "byport/b"]  # two: inotify merges equal events
    for number in range(limit // 2 + 10):
        path = paths_[number % 2]
        path.touch()
        path.unlink()
    (CONFIG / "byport/80").unlink()
    flag("byport/81")
    daemon.process.send_signal(signal.SIGCONT)
    daemon.sync()
    assert not granted.may()
    assert granted.may("127.0.0.1", 81)


@pytest.fixture
def elsewhere():
    """Yield a second tree of permission files that grants port 81; undo mounts afterwards."""
    tree = pathlib.Path("/etc/elsewhere")
    for name in ("byport", "byaddr", "byuser", "bygroup"):
        (tree / name).mkdir(parents=True)
    (tree / "byport/81").touch(0o755)
    (tree / "byport/81").chmod(0o755)
    yield tree
    while subprocess.run(["umount", CONFIG], capture_output=True).returncode == 0:
        pass
    subprocess.run(["umount", CONFIG / "byport/80"], capture_output=True)
    for path in (tree, pathlib.Path("/etc/pybind.old")):
        subprocess.run(["rm", "-rf", path], check=True)


def test_case_73_mounted_over(daemon, granted, elsewhere):
    """A mount over /etc/pybind counts at once, and so does its end."""
    subprocess.run(["mount", "--bind", elsewhere, CONFIG], check=True)
    daemon.sync()
    assert not granted.may()
    assert granted.may("127.0.0.1", 81)
    subprocess.run(["umount", CONFIG], check=True)
    daemon.sync()
    assert granted.may()
    assert not granted.may("127.0.0.1", 81)


def test_case_73_tmpfs_over(daemon, granted, elsewhere):
    """With an empty file system over /etc/pybind nothing is granted."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", CONFIG], check=True)
    daemon.sync()
    assert not granted.may()


def test_case_73_file_mounted_over(daemon, granted, elsewhere):
    """A file on which something is mounted is left to the helper."""
    subprocess.run(["mount", "--bind", elsewhere / "byport/81", CONFIG / "byport/80"], check=True)
    said = daemon.sync()
    assert said["left"] == [{"name": "byport/80", "why": "is a mount point"}]
    assert not granted.may()


def test_case_73_replaced(daemon, granted, elsewhere):
    """Replacing /etc/pybind by another folder, or by a link to one, counts at once."""
    CONFIG.rename("/etc/pybind.old")
    elsewhere.rename(CONFIG)
    daemon.sync()
    assert not granted.may()
    assert granted.may("127.0.0.1", 81)
    CONFIG.rename(elsewhere)
    CONFIG.symlink_to("/etc/pybind.old")
    assert "not a directory" in daemon.sync()["refuses_all"]
    assert not granted.may()
    CONFIG.unlink()
    pathlib.Path("/etc/pybind.old").rename(CONFIG)
    daemon.sync()
    assert granted.may()


def test_case_74_mode_flips(daemon, user):
    """While a file's owner flips its mode, each verdict is that of the old or new mode."""
    path = flag("byport/80", uid=support.OTHER_UID)
    flag("byport/81")
    daemon.sync()
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            path.chmod(0o750)
            path.chmod(0o700)
            path.write_text("")

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        seen = set()
        for _ in range(10000):
            seen.add(user.bind())
            assert user.may("127.0.0.1", 81)  # the port of another file is not affected
    finally:
        stop.set()
        thread.join()
    assert seen <= {0, errno.EACCES}
    wait_for(lambda: not daemon.sync()["left"], "the file to be judged again")
    assert not user.may()
    path.chmod(0o750)
    daemon.sync()
    assert user.may()


def test_case_74_one_table_for_each_bind(daemon, user):
    """No bind is refused while two files take turns so that one of them always grants."""
    flag("byport/80")
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    stop = threading.Event()

    def change():
        number = 0
        # Three reports for each turn: below STORM of kernel/files.py, else the file is left.
        while not stop.wait(0.1):
            daemon.sync()  # so that a loaded machine keeps up
            number += 1
            (CONFIG / "byport/80").unlink()  # now the rule file grants
            flag(f"byport/{1 + number % 50}", mode=0)
            new = CONFIG / "byport/new"
            new.touch()
            os.chown(new, 0, support.GID)
            new.chmod(0o750)
            new.rename(CONFIG / "byport/80")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        seen = {user.bind() for _ in range(100000)}  # about fifty changes
    finally:
        stop.set()
        thread.join()
    assert seen == {0}


def test_case_82_hard_link_elsewhere(daemon, granted):
    """A file with a second hard link is left to the helper, whatever happens to the link."""
    os.link(CONFIG / "byport/80", "/etc/link")
    try:
        said = daemon.sync()
        assert said["left"] == [{"name": "byport/80", "why": "has 2 hard links"}]
        assert not granted.may()
    finally:
        os.unlink("/etc/link")
    assert not daemon.sync()["left"]
    assert granted.may()


def test_case_82_changed_through_a_descriptor(daemon, granted):
    """fchmod(2) on a file whose name changed is reported by the watch of the file."""
    os.link(CONFIG / "byport/80", "/etc/link")
    fd = os.open("/etc/link", os.O_RDONLY)
    os.unlink("/etc/link")
    try:
        daemon.sync()
        assert granted.may()
        os.fchmod(fd, 0o700)
        daemon.sync()
        assert not granted.may()
    finally:
        os.close(fd)


def test_case_82_shared_mapping(daemon, user):
    """A write through a mapping counts at munmap(2), or at the next reading of all files."""
    path = rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    assert user.may()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:6] = b"any,81"
        wait_for(lambda: not user.may(), "the files to be read again")
    assert user.may("127.0.0.1", 81)


def test_case_82_noexec(daemon, user):
    """Flag files grant nothing while their file system is noexec."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", CONFIG], check=True)
    try:
        for name in ("byport", "byaddr", "byuser", "bygroup"):
            (CONFIG / name).mkdir()
        flag("byport/80")
        daemon.sync()
        assert user.may()
        subprocess.run(["mount", "-o", "remount,noexec", CONFIG], check=True)
        daemon.sync()
        assert not user.may()
        subprocess.run(["mount", "-o", "remount,exec,ro", CONFIG], check=True)
        daemon.sync()
        assert user.may()
    finally:
        subprocess.run(["umount", CONFIG], check=True)


def test_case_81_more_than_the_table_holds(daemon, user):
    """A rule file with too many rules is left to the helper, and the log says so."""
    lines = [f"127.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255},80" for n in range(10_001)]
    rules(f"byuser/{support.UID}", *lines)
    said = daemon.sync()
    assert said["left"] == [{"name": f"byuser/{support.UID}", "why": "has more than 10000 rules"}]
    assert not user.may("127.0.0.2")
    rules(f"byuser/{support.UID}", *lines[2:10_000], "127.0.0.1,80")
    assert not daemon.sync()["left"]
    assert user.may()


def test_case_81_long_list(daemon):
    """An access control list of thousands of entries is held exactly."""
    path = flag("byport/80", mode=0o700)
    entries = ",".join(f"u:{uid}:x" for uid in range(20000, 20400))
    more = ",".join(f"g:{gid}:x" for gid in range(30000, 30050))
    subprocess.run(["setfacl", "-m", f"{entries},{more}", path], check=True)
    daemon.sync()
    for caller, granted in (
        (Caller(20399, 7), True),
        (Caller(20400, 7), False),
        (Caller(7, 7, (30049,)), True),
        (Caller(7, 30000), True),
        (Caller(7, 30050), False),
    ):
        with worker(daemon.cgroup, caller) as made:
            assert made.may() == granted, caller
