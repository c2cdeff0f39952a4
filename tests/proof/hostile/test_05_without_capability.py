# SPDX-License-Identifier: GPL-3.0-or-later
"""Execution environment: ways to get a helper without its capability, or an old helper."""

import ctypes
import errno
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess

import attacked
import hostile
import pytest
import support
from hostile import (
    LIBC,
    Helper,
    as_uid,
    ask,
    become,
    bind_request,
    check_c,
    granted,
    prctl,
    syscall,
)
from support import HELPER

from pybind import _wire as w

CLONE_FS = 0x200
SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
PTRACE_TRACEME, PTRACE_CONT = 0, 7
WITHOUT = hostile.refused(w.REASON_NO_CAPABILITY)


def no_new_privs():
    prctl(hostile.PR_SET_NO_NEW_PRIVS, 1)


def test_case_05_no_new_privs(uid, grant):
    """Under no_new_privs the helper says that it has no capability."""
    assert as_uid(uid, lambda: ask(prepare=no_new_privs)) == WITHOUT


@pytest.mark.usefixtures("grant")
def test_case_05_no_new_privs_in_a_program(uid):
    """Under no_new_privs the library starts no helper, and bind() returns the kernel's EACCES."""
    code = """
served = socket.socket()
print(call(served, sin(80)), name(served))
served.close()
libc.prctl(38, 1, 0, 0, 0)
sock = socket.socket()
print(call(sock, sin(80)), name(sock), call(sock, sin(8080)), name(sock))
"""
    with attacked.counted_helper() as count:
        done = attacked.under_library(uid, code)
        assert done.stdout == f"0 80\n{errno.EACCES} 0 0 8080\n", done.stderr
        assert count() == 1  # only for the first bind, which is the control


def test_case_06_bounding_set(uid, grant):
    """Without CAP_NET_BIND_SERVICE in the bounding set the refusal has that reason."""
    effective = support.scratch_dir() / "helper"
    shutil.copy(HELPER, effective)
    hostile.with_capability(effective, "ep")

    def drop():
        prctl(hostile.PR_CAPBSET_DROP, hostile.CAP_NET_BIND_SERVICE)
        become(uid)

    def start_effective():
        with pytest.raises(PermissionError):
            Helper(path=effective)

    # Control: with =ep execve(2) itself would fail, and nobody could tell why.
    as_uid(uid, start_effective, drop=drop)
    assert as_uid(uid, ask, drop=drop) == WITHOUT


def test_case_07_nosuid_mount(uid, grant):
    """On a nosuid mount the helper starts without its capability, and says so."""
    folder = pathlib.Path(HELPER).parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,nosuid", folder], check=True)
        assert as_uid(uid, ask) == WITHOUT
    finally:
        subprocess.run(["umount", folder], check=True)


def trace_me():
    check_c(LIBC.ptrace(PTRACE_TRACEME, 0, None, None))


def ask_traced():
    """Run by a uid: trace a helper through its execve(2), then let it run."""
    with socket.socket() as sock:
        helper = Helper(sock, prepare=trace_me)
        helper.send(bind_request())
        stops = 0
        while True:
            pid, status = os.waitpid(helper.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            stops += 1
            number = os.WSTOPSIG(status)
            passed = 0 if number == signal.SIGTRAP else int(number)
            LIBC.ptrace(PTRACE_CONT, pid, None, ctypes.c_void_p(passed))
        data = helper.ours.recv(1 << 16)
        return stops, hostile.decode(data)["reason"], sock.getsockname()[1]


def test_case_08_tracer(uid, grant):
    """Under a tracer of the uid the helper has no capability."""
    stops, reason, port = as_uid(uid, ask_traced)
    assert stops >= 1  # the tracer saw the execve(2)
    assert (reason, port) == (w.REASON_NO_CAPABILITY, 0)


def exec_in_a_sharer(flags):
    """Run by a uid: execute the helper in a clone that shares our fs_struct."""
    with socket.socket() as sock:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.send(hostile.encode(bind_request()))
        pid = syscall(SYS_CLONE[platform.machine()], flags | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os.dup2(theirs.fileno(), 0)
            os.dup2(sock.fileno(), 3)
            os.execve(HELPER, ["x"], {})
        theirs.close()
        reason = hostile.decode(ours.recv(1 << 16))["reason"]
        os.waitpid(pid, 0)
        return reason, sock.getsockname()[1]


@pytest.mark.skipif(platform.machine() not in SYS_CLONE, reason="another number of clone(2)")
def test_case_09_shared_fs_struct(uid, grant):
    """A helper that shares its root and working directory with its caller gets no capability."""
    # Control: the same clone without CLONE_FS is served.
    assert as_uid(uid, exec_in_a_sharer, 0) == (w.REASON_GRANTED, 80)
    assert as_uid(uid, exec_in_a_sharer, CLONE_FS) == (w.REASON_NO_CAPABILITY, 0)


def exec_with(argv):
    """Return a function that executes the helper with exactly these arguments, or none."""

    def run():
        words = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
        check_c(LIBC.execve(HELPER.encode(), words, (ctypes.c_char_p * 1)(None)))

    return run


@pytest.mark.parametrize(
    "argv",
    [[], [b""], [b"x" * 100000], [b"--help"], [b"-", b"4", b"80"], [b"%n%s"] * 1000],
    ids=["argc 0", "empty", "long", "option", "numbers", "many"],
)
def test_case_10_argument_vector(uid, grant, argv):
    """The answers are the same for any arguments of execve(2), and for none."""
    assert as_uid(uid, lambda: ask(run=exec_with(argv))) == granted()
    assert as_uid(uid, lambda: ask(request=bind_request(81), run=exec_with(argv))).denied


def test_case_18_hard_link(uid, grant):
    """The kernel refuses a hard link to the helper, or the link decides as the helper does."""
    folder = pathlib.Path(support.PREFIX) / f"of-{uid}"  # on the helper's file system
    folder.mkdir()
    os.chown(folder, uid, 0)
    link = folder / "helper"
    try:
        forbidden = pytest.raises(AssertionError, match="Operation not permitted")
        with hostile.sysctl("fs/protected_hardlinks", 1), forbidden:
            as_uid(uid, os.link, HELPER, link)
        with hostile.sysctl("fs/protected_hardlinks", 0):
            as_uid(uid, os.link, HELPER, link)
        # The link has the capability (control), and the files below /etc decide here too.
        assert as_uid(uid, lambda: ask(path=link)) == granted()
        assert as_uid(uid, lambda: ask(request=bind_request(22), path=link)) == hostile.refused(
            w.REASON_NO_RULE
        )
        grant.unlink()
        assert as_uid(uid, lambda: ask(path=link)) == hostile.refused(w.REASON_NO_RULE)
    finally:
        shutil.rmtree(folder)


def from_fd(fd):
    """Return the options of ask() that execute the file of a descriptor."""
    return {"fds": {9: fd}, "path": "/proc/self/fd/9"}


def test_case_19_descriptor_kept_across_an_upgrade(uid, grant):
    """A descriptor on the old helper is useless after `make install` has replaced the helper."""
    copy = support.scratch_dir() / "helper"
    shutil.copy(HELPER, copy)
    hostile.with_capability(copy)
    fds = [os.open(path, os.O_PATH) for path in (copy, HELPER)]
    try:
        before = os.stat(HELPER).st_ino
        # Control: after a mere unlink the descriptor is as useful as before.
        copy.unlink()
        assert as_uid(uid, lambda: ask(**from_fd(fds[0]))) == granted()
        assert as_uid(uid, lambda: ask(**from_fd(fds[1]))) == granted()
        subprocess.run(
            ["make", "-s", "install"], cwd=support.REPOSITORY, check=True, capture_output=True
        )
        assert os.stat(HELPER).st_ino != before
        assert as_uid(uid, lambda: ask(**from_fd(fds[1]))) == WITHOUT
        assert as_uid(uid, ask) == granted()
    finally:
        for fd in fds:
            os.close(fd)
