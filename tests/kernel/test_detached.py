# SPDX-License-Identifier: GPL-3.0-or-later
"""Another root process detaches pybindd's programs from the control group: case 72.

This happens while pybindd is stopped, so that the test knows when pybindd looks.
"""

import contextlib
import ctypes
import errno
import os
import signal
import socket
import struct

import cgroups
import pytest
import running
from running import worker
from support import CONFIG, flag, wait_for

from pybind import pybindd as client

LINK_CGROUP = 3  # enum bpf_link_type
_INFO = struct.Struct(
    "=IIII QI"
)  # struct bpf_link_info: type, id, prog_id, -, cgroup_id, attach_type
BIND4, BIND6, POST_BIND4, POST_BIND6 = 8, 9, 12, 13  # enum bpf_attach_type


@contextlib.contextmanager
def links(cgroup):
    """Yield {attach type: descriptor} of the links at one control group."""
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    found, at = {}, ctypes.c_uint32(0)
    while library.bpf_link_get_next_id(at.value, ctypes.byref(at)) == 0:
        fd = library.bpf_link_get_fd_by_id(at.value)
        info, size = ctypes.create_string_buffer(256), ctypes.c_uint32(256)
        if fd < 0 or library.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(size)) != 0:
            continue
        kind, _, _, _, cgroup_id, attach_type = _INFO.unpack_from(info)
        if kind == LINK_CGROUP and cgroup_id == os.stat(cgroup).st_ino:
            found[attach_type] = fd
        else:
            os.close(fd)
    try:
        yield found
    finally:
        for fd in found.values():
            os.close(fd)


def detach(cgroup, *kinds):
    """Detach programs, as `bpftool link detach` does."""
    with links(cgroup) as found:
        assert sorted(found) == [BIND4, BIND6, POST_BIND4, POST_BIND6]
        for kind in kinds:
            assert ctypes.CDLL("libbpf.so.1").bpf_link_detach(found[kind]) == 0


@contextlib.contextmanager
def stopped(daemon):
    """Stop pybindd for a while."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


ALL = (BIND4, BIND6, POST_BIND4, POST_BIND6)


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ((BIND4,), "bind4"),
        ((POST_BIND4,), "post_bind4"),
        (ALL, "post_bind4, post_bind6, bind4, bind6"),
    ],
    ids=["bind4", "post_bind4", "all"],
)
def test_case_72_detached(daemon, user, kinds, names):
    """pybindd notices detached programs, logs them, and attaches each of the four once."""
    flag("byport/80")
    daemon.sync()
    text = f"another process had taken {names} away; attached again"
    for times in (1, 2):
        assert user.may()
        with stopped(daemon):
            detach(daemon.cgroup, *kinds)
            assert user.may() == (BIND4 not in kinds)
        wait_for(lambda times=times: daemon.log.count(text) == times, "a word about it")
        wait_for(user.may, "the lease")
        with links(daemon.cgroup) as found:
            assert sorted(found) == sorted(ALL)
    assert client.status()["in_force"]
    (CONFIG / "byport/80").unlink()
    daemon.sync()
    assert not user.may()


def test_case_72_detached_after_a_bind_failed(daemon, user, others):
    """What a failed bind left is not held against another socket, while bind4 is detached."""
    flag("byport/80")
    daemon.sync()
    with links(daemon.cgroup) as ours, others.attached("grants", daemon.cgroup):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 80))
            assert user.bind() == errno.EADDRINUSE
        with stopped(daemon):
            assert ctypes.CDLL("libbpf.so.1").bpf_link_detach(ours[BIND4]) == 0
            assert user.bind("127.0.0.1", 82) == 0


def test_case_72_another_program_in_the_link(daemon, user, others):
    """A link that got another program does not count as ours."""
    flag("byport/80")
    daemon.sync()
    with stopped(daemon), links(daemon.cgroup) as found:
        program = others.program("allows")
        assert ctypes.CDLL("libbpf.so.1").bpf_link_update(found[BIND4], program, None) == 0
        assert not user.may()
    wait_for(user.may, "the programs to be attached again")
    assert "another process had taken bind4 away; attached again" in daemon.log


def test_case_72_kept_out(daemon, user, others):
    """If a program allows no other beside it, log and status say so, and pybindd tries again."""
    flag("byport/80")
    daemon.sync()
    library, program = ctypes.CDLL("libbpf.so.1"), others.program("allows")
    cgroup_fd = os.open(daemon.cgroup, os.O_RDONLY)
    try:
        with stopped(daemon):
            detach(daemon.cgroup, *ALL)
            assert library.bpf_prog_attach(program, cgroup_fd, BIND4, 0) == 0
        wait_for(lambda: not client.status()["in_force"], "the status to say it")
        why = client.status()["why_not"]
        assert "taken the programs away, and they cannot be attached again" in why
        assert "is attached that allows no other beside it" in why
        assert f"nothing is granted: {why}" in daemon.log
        assert not user.may()
        assert not client.sync()["in_force"]
        assert library.bpf_prog_detach2(program, cgroup_fd, BIND4) == 0
        wait_for(user.may, "the programs to be attached again")
        assert daemon.sync()["in_force"]
    finally:
        os.close(cgroup_fd)


def test_case_72_the_control_group_is_removed():
    """After the control group is removed, pybindd does not claim that it judges."""
    with cgroups.group() as above:
        below = above / "below"
        below.mkdir()
        flag("byport/80")
        daemon = running.Pybindd(below)
        try:
            with worker(below) as user:
                daemon.sync()
                assert user.may()
            cgroups.remove(below)
            wait_for(lambda: not client.status()["in_force"], "the status to say it")
            assert "cannot be attached again" in client.status()["why_not"]
            assert daemon.stop() == 0
        finally:
            daemon.stop()


def test_case_72_detached_though_held(daemon, user):
    """A clean stop detaches the programs even if another process holds their links."""
    with links(daemon.cgroup) as held:
        assert len(held) == len(ALL)
        assert daemon.stop() == 0
        with links(daemon.cgroup) as found:
            assert found == {}
