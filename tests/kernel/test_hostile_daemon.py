# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls pybindd itself, and files that change under it: cases 72 to 74, 79 and 82."""

import ctypes
import errno
import mmap
import os
import pathlib
import resource
import signal
import socket
import subprocess
import threading

import cgroups
import pytest
import running
import support
from callers import enter_user_namespace
from reference import Caller
from running import OTHER, worker
from support import CONFIG, flag, rules, wait_for

from pybind import paths
from pybind import pybindd as client


@pytest.fixture
def granted(daemon, user):
    """Let the user bind port 80."""
    flag("byport/80")
    daemon.sync()
    assert user.may()
    return user


def test_case_72_killed(daemon, granted):
    """SIGKILL: the kernel takes the programs away with the process."""
    daemon.process.kill()
    daemon.process.wait()
    wait_for(lambda: not granted.may(), "the programs to go")
    assert client.status() is None


def test_case_72_stopped(daemon, granted):
    """SIGSTOP: nothing is granted when the lease ends; SIGCONT: granted again."""
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not granted.may(), "the lease to end")
    flag("byport/81")
    daemon.process.send_signal(signal.SIGCONT)
    wait_for(granted.may, "the lease to be renewed")
    daemon.sync()
    assert granted.may("127.0.0.1", 81)


def test_case_72_stopped_and_changed(daemon, granted):
    """What was taken away while it was stopped is not granted by a late renewal."""
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not granted.may(), "the lease to end")
    (CONFIG / "byport/80").unlink()
    flag("byport/81")
    daemon.process.send_signal(signal.SIGCONT)
    verdicts = []

    def until_known():
        verdicts.append(granted.may())
        return granted.may("127.0.0.1", 81)

    wait_for(until_known, "the new file to count")
    assert not any(verdicts)


def test_case_72_frozen(daemon, granted):
    """The freezer: nothing is granted when the lease ends."""
    with cgroups.group() as freezer:
        (freezer / "cgroup.procs").write_text(str(daemon.process.pid))
        (freezer / "cgroup.freeze").write_text("1")
        try:
            wait_for(lambda: not granted.may(), "the lease to end")
        finally:
            (freezer / "cgroup.freeze").write_text("0")
        wait_for(granted.may, "the lease to be renewed")
        assert daemon.stop() == 0


def _links():
    """Return the ids of the links in the kernel (BPF_LINK_GET_NEXT_ID)."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    found, at = [], ctypes.c_uint32(0)
    while libbpf.bpf_link_get_next_id(at.value, ctypes.byref(at)) == 0:
        found.append(at.value)
    return libbpf, found


def test_case_72_link_held_by_another(granted, daemon):
    """Another process of root's holds the links: they stay, and grant nothing after the lease."""
    libbpf, links = _links()
    held = [fd for fd in map(libbpf.bpf_link_get_fd_by_id, links) if fd >= 0]
    assert held
    try:
        daemon.process.kill()
        daemon.process.wait()
        wait_for(lambda: not granted.may(), "the lease to end")
    finally:
        for fd in held:
            os.close(fd)


def test_case_72_nothing_of_it_runs_elsewhere(daemon, granted):
    """pybindd has no child and one thread, and its unit lets it dump no core."""
    tasks = list(pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir())
    assert len(tasks) == 1
    assert (tasks[0] / "children").read_text() == ""
    unit = (pathlib.Path(support.PREFIX) / "lib/systemd/system/pybindd.service").read_text()
    for line in ("LimitCORE=0", "WatchdogSignal=SIGKILL", "FileDescriptorStoreMax=0"):
        assert line in unit.splitlines()


def test_case_72_no_core(daemon, granted):
    """A signal that dumps a core does not, whatever the limit says: its programs go at once."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE, unlimited)
    daemon.process.send_signal(signal.SIGQUIT)
    ended = os.waitid(os.P_PID, daemon.process.pid, os.WEXITED | os.WNOWAIT)
    assert ended.si_code == os.CLD_KILLED  # not CLD_DUMPED
    wait_for(lambda: not granted.may(), "the programs to go")


def test_case_73_storm(daemon, granted):
    """Files come and go without a pause: what no state grants is never granted."""
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
    """More events than the queue holds, while pybindd cannot read them: all files are read again."""
    limit = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    daemon.process.send_signal(signal.SIGSTOP)
    paths_ = [CONFIG / "byport/a", CONFIG / "byport/b"]  # two: equal events in a row are one
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
    """Give a second tree of permission files, in which port 81 is granted; undo mounts."""
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
    """A mount over /etc/pybind counts at once, and its end too."""
    subprocess.run(["mount", "--bind", elsewhere, CONFIG], check=True)
    daemon.sync()
    assert not granted.may()
    assert granted.may("127.0.0.1", 81)
    subprocess.run(["umount", CONFIG], check=True)
    daemon.sync()
    assert granted.may()
    assert not granted.may("127.0.0.1", 81)


def test_case_73_tmpfs_over(daemon, granted, elsewhere):
    """An empty file system over /etc/pybind: nothing is granted."""
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
    """/etc/pybind becomes another folder, and a link to one."""
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
    """The owner of a flag file flips its mode while others bind: each verdict is one of the two."""
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
            assert user.may("127.0.0.1", 81)  # nobody else's file is concerned
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
    """Two files change places without a moment in which neither grants: no bind is refused."""
    flag("byport/80")
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    stop = threading.Event()

    def change():
        number = 0
        while not stop.wait(0.03):  # more often, and the file is left to the helper
            number += 1
            (CONFIG / "byport/80").unlink()  # the rule file grants
            flag(f"byport/{1 + number % 50}", mode=0)
            new = CONFIG / "byport/new"
            new.touch()
            os.chown(new, 0, support.GID)
            new.chmod(0o750)
            new.rename(CONFIG / "byport/80")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        seen = {user.bind() for _ in range(30000)}
    finally:
        stop.set()
        thread.join()
    assert seen == {0}


def test_case_79_a_second_one(daemon):
    """A second pybindd says which process runs, and changes nothing."""
    with cgroups.group() as group:
        done = subprocess.run(
            [cgroups.PYBINDD, "--cgroup", group], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    expected = f"pybindd: already running: process {daemon.process.pid} has {paths.PYBINDD_LOCK}\n"
    assert done.stderr == expected
    daemon.sync()


def _try_to_imitate():
    tried = {}
    for path in (paths.PYBINDD_SOCKET, paths.PYBINDD_STATUS, paths.PYBINDD_LOCK):
        for name, action in {
            "open": lambda path=path: pathlib.Path(path).write_text(""),
            "remove": lambda path=path: os.unlink(path),
            "replace": lambda path=path: os.rename(path, path + ".old"),
            "make": lambda path=path: os.mkdir(path + ".new"),
        }.items():
            try:
                action()
                tried[f"{name} {path}"] = 0
            except OSError as error:
                tried[f"{name} {path}"] = error.errno
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(paths.PYBINDD_SOCKET)
            tried["connect"] = 0
        except OSError as error:
            tried["connect"] = error.errno
    return tried


def test_case_79_imitated(daemon, user):
    """A user can neither reach pybindd's socket nor put anything in its place."""
    tried = user.call(_try_to_imitate)
    assert set(tried.values()) <= {errno.EACCES, errno.EPERM}, tried
    assert daemon.sync()


def test_case_79_a_status_that_nobody_stands_behind():
    """A status left by a killed pybindd is not believed."""
    pathlib.Path(paths.PYBINDD_STATUS).write_text('{"pid": 1, "started": 0, "in_force": true}')
    try:
        assert client.status() is None
    finally:
        os.unlink(paths.PYBINDD_STATUS)


def test_case_79_log_filled_by_one(daemon, user):
    """Who binds in a loop has their share of the log; another's line is there."""

    def refused_by(uid):
        return [line for line in daemon.log.splitlines() if f"refused uid={uid} " in line]

    with worker(daemon.cgroup, OTHER) as other:
        for _ in range(20000):
            user.bind("127.0.0.1", 23)
        other.bind("127.0.0.1", 24)
        wait_for(lambda: refused_by(OTHER.uid), "the other's line")
    assert len(refused_by(OTHER.uid)) == 1
    assert 20 <= len(refused_by(support.UID)) < 2000

    def counted():
        user.bind("127.0.0.1", 23)
        return any("unlogged=" in line for line in refused_by(support.UID))

    wait_for(counted, "the count of what was not logged")


def test_case_79_many_ids_of_one(daemon):
    """A user with subordinate ids in a namespace of theirs has one share, not thousands."""

    def others():
        return [line for line in daemon.log.splitlines() if "userns=other" in line]

    with worker(daemon.cgroup, None, prepare=enter_user_namespace) as made:
        assert made.call(_bind_as_ids) == 200
    wait_for(others, "a line")
    daemon.sync()
    assert len(others()) <= 60  # three seconds' worth; 200 users would have 200


def _bind_as_ids():
    done = 0
    for uid in range(100000, 100200):
        os.setresuid(uid, uid, 0)
        done += running.bind_error("127.0.0.1", 23) == errno.EACCES
        os.setresuid(0, 0, 0)
    return done


def test_case_82_hard_link_elsewhere(daemon, granted):
    """A file with another link is left to the helper, whatever is done to the link."""
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
    """fchmod(2) by a name that is gone: reported by the file itself."""
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
    """A write through a mapping counts at munmap(2), or when all files are read again."""
    path = rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    assert user.may()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:6] = b"any,81"
        wait_for(lambda: not user.may(), "the files to be read again")
    assert user.may("127.0.0.1", 81)


def test_case_82_noexec(daemon, user):
    """/etc/pybind on a file system that becomes noexec, and is so no more."""
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
    """A rule file with too many rules is left to the helper, and said so."""
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
