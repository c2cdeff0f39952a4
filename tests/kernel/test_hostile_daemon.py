# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on pybindd itself, and imitations of pybindd: cases 72 and 79."""

import ctypes
import errno
import os
import pathlib
import signal
import socket
import subprocess

import cgroups
import running
import support
from running import OTHER, enter_user_namespace, worker
from support import CONFIG, flag, wait_for

from pybind import paths
from pybind import pybindd as client


def test_case_72_killed(daemon, granted):
    """After SIGKILL the kernel removes the programs with the process."""
    daemon.process.kill()
    daemon.process.wait()
    wait_for(lambda: not granted.may(), "the programs to go")
    assert client.status() is None


def test_case_72_stopped(daemon, granted):
    """A stopped pybindd grants nothing after its lease; SIGCONT restores the grants."""
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not granted.may(), "the lease to end")
    flag("byport/81")
    daemon.process.send_signal(signal.SIGCONT)
    wait_for(granted.may, "the lease to be renewed")
    daemon.sync()
    assert granted.may("127.0.0.1", 81)


def test_case_72_stopped_and_changed(daemon, granted):
    """A grant that was revoked while pybindd was stopped does not return with SIGCONT."""
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
    """A frozen pybindd grants nothing after its lease."""
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
    """Links that another process of root's holds stay, but grant nothing after the lease."""
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
    """pybindd has no child and one thread, and its unit forbids core dumps."""
    tasks = list(pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir())
    assert len(tasks) == 1
    assert (tasks[0] / "children").read_text() == ""
    unit = (pathlib.Path(support.PREFIX) / "lib/systemd/system/pybindd.service").read_text()
    for line in ("LimitCORE=0", "WatchdogSignal=SIGKILL", "FileDescriptorStoreMax=0"):
        assert line in unit.splitlines()


def test_case_72_no_core(daemon, granted):
    """pybindd dumps no core even if the limit allows it, so its programs go at once."""
    support.allow_cores(daemon.process.pid)
    daemon.process.send_signal(signal.SIGQUIT)
    ended = os.waitid(os.P_PID, daemon.process.pid, os.WEXITED | os.WNOWAIT)
    assert ended.si_code == os.CLD_KILLED  # not CLD_DUMPED
    wait_for(lambda: not granted.may(), "the programs to go")


def test_case_79_a_second_one(daemon):
    """A second pybindd says which process runs, and changes nothing."""
    with cgroups.group() as group:
        done = subprocess.run(
            [cgroups.PYBINDD, "--cgroup", group], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 3
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
    """pybindctl does not believe a status file that a killed pybindd left."""
    pathlib.Path(paths.PYBINDD_STATUS).write_text('{"pid": 1, "started": 0, "in_force": true}')
    try:
        assert client.status() is None
    finally:
        os.unlink(paths.PYBINDD_STATUS)


def test_case_79_log_filled_by_one(daemon, user):
    """A user who binds in a loop has a limited share of the log; others' lines appear."""

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
    """A user with subordinate ids in their namespace has one share of the log, not thousands."""

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
