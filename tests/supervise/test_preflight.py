# SPDX-License-Identifier: GPL-3.0-or-later
"""Older kernels and other settings, by stand-ins.

The first tests import pybind's own modules from the source folder.
"""

import errno
import os
import platform
import struct
import subprocess

import launching
import printed
import pytest
import supervising
import support

from pybind.errors import STATUS_REFUSED, Refused
from pybind.model import SUPERVISE, Request, Target
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
    """Make preflight believe that it runs as an ordinary user without a filter."""
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
    """With Yama 2 and 3 the refusal has the sysctl, its value and the repair."""
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
    """preflight reads the sysctl of the kernel's Documentation/admin-guide/LSM/Yama.rst."""
    assert preflight.YAMA == "/proc/sys/kernel/yama/ptrace_scope"


def install_fails_with(monkeypatch, error):
    """Make the kernel refuse the filter with an errno; return the words of the refusal."""

    def fail(program):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(kernel, "install_filter", fail)
    return reasons(start._install, b"")


@pytest.mark.hostile(58)
def test_kernel_too_old(monkeypatch):
    """A kernel without WAIT_KILLABLE_RECV (EINVAL) is refused, with both releases."""
    words = install_fails_with(monkeypatch, errno.EINVAL)
    assert "5.19" in words
    assert os.uname().release in words


def test_listener_already_there(monkeypatch):
    """The words for EBUSY say that there is already a supervisor."""
    assert "already" in install_fails_with(monkeypatch, errno.EBUSY)


def test_unknown_machine(monkeypatch):
    """A machine with unknown system call numbers is refused by name."""
    monkeypatch.setattr(kernel, "supported_machine", lambda: False)
    assert os.uname().machine in reasons(preflight.check, REQUEST, STATIC)


def test_python_of_32_bits(monkeypatch):
    """On a kernel of 64 bits it has other system call numbers than `uname -m` tells."""
    monkeypatch.setattr(kernel.ctypes, "sizeof", lambda _: 4)
    assert not kernel.supported_machine()
    assert "32-bit Python" in reasons(preflight.check, REQUEST, STATIC)


def test_personality_of_32_bits(grant80, marked):
    """setarch(8) changes what uname(2) says, and not the system calls of a 64-bit Python."""
    if platform.machine() != "x86_64":
        pytest.skip(f"setarch i686 is for x86_64, this is {platform.machine()}")
    path, was_started = marked
    argv = supervising.under_pybind(path, mode="supervise")
    done = support.run(["/usr/bin/setarch", "i686", *argv])
    assert (done.returncode, done.stderr, was_started()) == (0, "", True)


def test_filter_that_libseccomp_cannot_make(monkeypatch):
    """An error of the library's is a refusal, with its words."""

    def fail(_):
        raise RuntimeError("Library error (errno = -125)")

    monkeypatch.setattr(kernel, "_build_filter", fail)
    assert "errno = -125" in reasons(kernel.build_filter)


def test_depth():
    """--depth is refused for a program that only this mode can serve."""
    assert "--depth" in reasons(preflight.check, REQUEST._replace(depth=2), STATIC)


def test_root(monkeypatch):
    """Root is refused, and told what to do instead."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "root" in reasons(preflight.check, REQUEST, STATIC)


def test_no_libseccomp(monkeypatch):
    """Without libseccomp's module the Debian package is named."""
    monkeypatch.setitem(__import__("sys").modules, "seccomp", None)
    assert "apt-get install python3-seccomp" in reasons(preflight.check, REQUEST, STATIC)


def verdict(program, arch, nr, first=0):
    """Run a BPF program as the kernel would, and return its verdict on a system call."""
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
    """The filter reports bind and landlock_restrict_self of every ABI, and socketcall(SYS_BIND)."""
    assert verdict(kernel.build_filter(), arch, nr, first) == (NOTIFY if reported else ALLOW)


def filtered(calls, *program, uid=support.UID):
    """Run PROGRAM as a user under a filter that answers calls with EPERM, like Docker's."""
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return launching.run_filtered(errno.EPERM, calls, *program, uid=uid, env=path)


@pytest.mark.parametrize("call", ["pidfd_getfd", "process_vm_readv"])
def test_container_that_forbids_to_look_in(grant80, marked, call):
    """A filter like Docker's default refuses before the start, with the words to type."""
    path, was_started = marked
    done = filtered(call, *supervising.under_pybind(path, mode="supervise"))
    assert done.returncode == 125
    assert f"{call}(2) is denied here" in done.stderr
    assert "--cap-add SYS_PTRACE" in done.stderr
    listening = printed.said(done.stderr, "preflight._look_into: pybind --listen ...")
    assert not was_started()
    # The other way that the message names works there.
    done = filtered(call, support.PYBIND, listening.split()[1], "-p", "80", "--", path)
    assert (done.returncode, was_started()) == (0, True), done.stderr


def test_doctor_says_it_too():
    """pybindctl doctor finds the same obstacle in the same words."""
    for uid in (support.UID, 0):
        done = filtered("pidfd_getfd", f"{support.PREFIX}/bin/pybindctl", "doctor", uid=uid)
        assert "pidfd_getfd(2) is denied here" in done.stdout
        assert "--cap-add SYS_PTRACE" in done.stdout


def test_after_a_change_of_ids(grant80):
    """The trial of looking into a child works too after root has become a user."""
    argv = [support.PYBIND, "--user", "nobody", "--mode", "supervise", "-p", "80", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")


def test_proc_of_another_pid_namespace(grant80):
    """Nothing is started if /proc belongs to another PID namespace."""
    unshare = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc"]
    drop = ["/usr/bin/setpriv", "--reuid", str(support.UID), "--regid", str(support.GID),
            "--clear-groups", "--inh-caps=-all", "env"]  # fmt: skip
    argv = [*drop, *supervising.under_pybind("/bin/true", mode="supervise")]
    done = subprocess.run([*unshare[:3], *argv], capture_output=True, text=True, cwd="/")
    assert done.returncode == 125
    assert "/proc is that of another pid namespace" in done.stderr
    mount = printed.said(done.stderr, "preflight._check_proc: mount -t proc proc /proc")
    script = ["sh", "-c", f'{mount} && exec "$@"', "sh"]
    assert subprocess.run([*unshare[:3], "--mount", *script, *argv], cwd="/").returncode == 0
    option = printed.said(done.stderr, "preflight._check_proc: unshare --mount-proc ...").split()[1]
    assert subprocess.run([*unshare[:3], option, *argv], cwd="/").returncode == 0
