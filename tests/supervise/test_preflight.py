# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems that this one is not: older kernels, other settings; by stand-ins.

The first of these import pybind's own modules, from the source folder.
"""

import errno
import os
import platform
import struct
import subprocess

import pytest
import supervising
import support

from pybind.errors import STATUS_REFUSED, Refused
from pybind.model import SUPERVISE, Request, Target
from pybind.supervise import filter as bpf
from pybind.supervise import kernel, preflight, start

AMD64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7  # AUDIT_ARCH_*
X32 = 0x40000000
NOTIFY, ALLOW = 0x7FC00000, 0x7FFF0000  # SECCOMP_RET_*
REQUEST = Request(
    listed=(), depth=None, mode=SUPERVISE, verbose=False, quiet=False, check=False, argv=(b"x",)
)
STATIC = Target(b"/bin/x", "program, statically linked", obstacle="it is statically linked")


@pytest.fixture(autouse=True)
def as_a_user(monkeypatch):
    """Let preflight believe that it runs as an ordinary user, outside of any filter."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(preflight, "binds_alone", lambda: False)


def reasons(call, *args):
    """Return the words with which call(*args) refuses."""
    with pytest.raises(Refused) as caught:
        call(*args)
    assert caught.value.status == STATUS_REFUSED == 125
    return " ".join(caught.value.lines)


@pytest.mark.parametrize("text", ["2\n", "3\n"])
def test_yama_that_forbids_it(monkeypatch, tmp_path, text):
    """Yama 2 and 3 are refused, with the sysctl, its value and the repair."""
    yama = tmp_path / "ptrace_scope"
    yama.write_text(text)
    monkeypatch.setattr(preflight, "YAMA", str(yama))
    words = reasons(preflight.check, REQUEST, STATIC)
    assert f"{yama} is {text.strip()}" in words
    assert "kernel.yama.ptrace_scope=1" in words


@pytest.mark.parametrize("text", ["0\n", "1\n", None])
def test_yama_that_allows_it(monkeypatch, tmp_path, text):
    """Yama 0 and 1, and a kernel without Yama, are no obstacle."""
    yama = tmp_path / "ptrace_scope"
    if text:
        yama.write_text(text)
    monkeypatch.setattr(preflight, "YAMA", str(yama))
    preflight.check(REQUEST, STATIC)


def test_yama_is_the_sysctl():
    """The stand-in stands in for the right file (Documentation/admin-guide/LSM/Yama.rst)."""
    assert preflight.YAMA == "/proc/sys/kernel/yama/ptrace_scope"


def install_fails_with(monkeypatch, error):
    """Let the kernel refuse the filter with an errno; returns the words of the refusal."""

    def fail(program):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(kernel, "install_filter", fail)
    return reasons(start._install, b"")


@pytest.mark.hostile(58)
def test_kernel_too_old(monkeypatch):
    """A kernel without WAIT_KILLABLE_RECV (EINVAL) is refused, with its release and the needed."""
    words = install_fails_with(monkeypatch, errno.EINVAL)
    assert "5.19" in words
    assert os.uname().release in words


def test_listener_already_there(monkeypatch):
    """EBUSY is told as a supervisor that is there already."""
    assert "already" in install_fails_with(monkeypatch, errno.EBUSY)


def test_unknown_machine(monkeypatch):
    """A machine whose system call numbers are not known is refused by name."""
    monkeypatch.setattr(kernel, "supported_machine", lambda: False)
    assert os.uname().machine in reasons(preflight.check, REQUEST, STATIC)


def test_depth():
    """--depth is refused for what only this mode can serve."""
    assert "--depth" in reasons(preflight.check, REQUEST._replace(depth=2), STATIC)


def test_root(monkeypatch):
    """Root is refused, with what to do instead."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "root" in reasons(preflight.check, REQUEST, STATIC)


def test_no_libseccomp(monkeypatch):
    """Without libseccomp's module the Debian package is named."""
    monkeypatch.setitem(__import__("sys").modules, "seccomp", None)
    assert "apt-get install python3-seccomp" in reasons(preflight.check, REQUEST, STATIC)


def verdict(program, arch, nr, first=0):
    """Return what a BPF program says of a system call, as the kernel would run it."""
    data = struct.pack("=iIQ6Q", nr, arch, 0, first, 0, 0, 0, 0, 0)
    code = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        if operation == 0x06:  # BPF_RET
            return k
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (value,) = struct.unpack_from("=I", data, k)
        elif operation == 0x54:  # BPF_ALU | BPF_AND
            value &= k
        elif operation == 0x05:  # BPF_JA
            at += k
        else:
            taken = {0x15: value == k, 0x25: value > k, 0x35: value >= k, 0x45: bool(value & k)}
            at += if_true if taken[operation] else if_false


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize(("arch", "nr", "first", "reported"), [
    (AMD64, 49, 0, True),
    (AMD64, X32 | 49, 0, True),
    (I386, 361, 0, True),
    (I386, 102, 2, True),
    (I386, 102, 1, False),
    (I386, 102, 3, False),
    (I386, 49, 0, False),
    (AMD64, 361, 0, False),
    (AMD64, 50, 0, False),
    (AMD64, X32 | 50, 0, False),
    (AARCH64, 49, 0, False),
    (AMD64, 446, 0, True),
    (AMD64, X32 | 446, 0, True),
    (I386, 446, 0, True),
    (AMD64, 445, 0, False),
])  # fmt: skip
def test_filter_reports_bind_and_landlock_only(arch, nr, first, reported):
    """bind and landlock_restrict_self of every ABI, and socketcall(SYS_BIND); all else allowed."""
    assert verdict(bpf.build(), arch, nr, first) == (NOTIFY if reported else ALLOW)


def filtered(calls, *program, uid=support.UID):
    """Run PROGRAM as a user under a filter that answers calls with EPERM, as Docker's does."""
    argv = ["/usr/bin/python3", supervising.SRC / "filtered.py", errno.EPERM, calls, uid, *program]
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, cwd="/",
                          timeout=support.PATIENCE_S, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})  # fmt: skip


@pytest.mark.parametrize("call", ["pidfd_getfd", "process_vm_readv"])
def test_container_that_forbids_to_look_in(grant80, marked, call):
    """A filter as Docker's default one: refused before the start, with what to type."""
    path, was_started = marked
    done = filtered(call, *supervising.under_pybind(path, mode="supervise"))
    assert done.returncode == 125
    assert f"{call}(2) is denied here" in done.stderr
    assert "--cap-add SYS_PTRACE" in done.stderr
    assert "pybind --listen" in done.stderr
    assert not was_started()
    # What is named besides is served there.
    done = filtered(call, support.PYBIND, "--listen", "-p", "80", "--", path)
    assert (done.returncode, was_started()) == (0, True), done.stderr


def test_doctor_says_it_too():
    """pybindctl doctor tries the same, and says the same."""
    for uid in (support.UID, 0):
        done = filtered("pidfd_getfd", f"{support.PREFIX}/bin/pybindctl", "doctor", uid=uid)
        assert "pidfd_getfd(2) is denied here" in done.stdout
        assert "--cap-add SYS_PTRACE" in done.stdout


def test_after_a_change_of_ids(grant80):
    """The child that is looked into can be, also where root has become a user."""
    argv = [support.PYBIND, "--user", "nobody", "--mode", "supervise", "-p", "80", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")


def test_proc_of_another_pid_namespace(grant80):
    """Where /proc numbers other processes nothing is started."""
    unshare = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc"]
    drop = ["/usr/bin/setpriv", "--reuid", str(support.UID), "--regid", str(support.GID),
            "--clear-groups", "--inh-caps=-all", "env"]  # fmt: skip
    argv = [*drop, *supervising.under_pybind("/bin/true", mode="supervise")]
    done = subprocess.run([*unshare[:3], *argv], capture_output=True, text=True, cwd="/")
    assert done.returncode == 125
    assert "/proc is that of another pid namespace" in done.stderr
    assert subprocess.run([*unshare, *argv], cwd="/").returncode == 0
