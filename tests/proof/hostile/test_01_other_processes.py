# SPDX-License-Identifier: GPL-3.0-or-later
"""Execution environment: processes of the same uid attack a running helper."""

import ctypes
import errno
import os
import resource
import signal
import socket
import subprocess

import pytest
import support
from hostile import (
    LIBC,
    PR_SET_NO_NEW_PRIVS,
    Helper,
    as_uid,
    ask,
    bind_request,
    check_c,
    granted,
    prctl,
    python,
    syscall,
    sysctl,
    with_capability,
)

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SEIZE = 16, 17, 0x4206
SYS_PIDFD_GETFD = 438  # the same number on every machine
CONFINED = r"""
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) /* gives its capability up, but does not call itself undumpable */
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &header, none) != 0)
        return 1;
    write(1, "x", 1);
    pause();
    return 0;
}
"""
PRELOADED = r"""
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void came_in(void)
{
    close(open("MARK", O_CREAT | O_WRONLY, 0666));
}
"""


def attach(request):
    """Return a probe that attaches by ptrace(2) and detaches again."""

    def probe(pid):
        check_c(LIBC.ptrace(request, pid, None, None))
        if request == PTRACE_ATTACH:
            os.waitpid(pid, 0)
            check_c(LIBC.ptrace(PTRACE_DETACH, pid, None, None))

    return probe


def move_memory(call):
    """Return a probe that reads or writes another process's memory by process_vm_readv(2)."""

    def probe(pid):
        room = ctypes.create_string_buffer(8)
        # Any address will do: the kernel checks the rights first.
        iov = (ctypes.c_void_p * 2)(ctypes.addressof(room), 8)
        check_c(call(pid, iov, ctypes.c_ulong(1), iov, ctypes.c_ulong(1), ctypes.c_ulong(0)))

    return probe


def take_descriptor(pid):
    """Take a copy of the helper's reply socket."""
    pidfd = os.pidfd_open(pid)
    try:
        os.close(syscall(SYS_PIDFD_GETFD, pidfd, 0, 0))
    finally:
        os.close(pidfd)


def read_file(name):
    """Return a probe that reads /proc/PID/NAME."""

    def probe(pid):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            file.read(1) if name != "mem" else None

    return probe


PROBES = {
    "ptrace attach": attach(PTRACE_ATTACH),
    "process_vm_readv": move_memory(LIBC.process_vm_readv),
    "process_vm_writev": move_memory(LIBC.process_vm_writev),
    "pidfd_getfd": take_descriptor,
    "fd": lambda pid: os.listdir(f"/proc/{pid}/fd"),
    "fd 0": lambda pid: os.readlink(f"/proc/{pid}/fd/0"),
    "map_files": lambda pid: os.listdir(f"/proc/{pid}/map_files"),
    **{name: lambda pid, name=name: os.readlink(f"/proc/{pid}/{name}")
       for name in ("exe", "root", "cwd", "ns/net")},
    **{name: read_file(name) for name in ("mem", "maps", "environ", "auxv", "io", "syscall")},
    "ptrace seize": attach(PTRACE_SEIZE),  # last, because it cannot be undone
}  # fmt: skip


def probe_all(pid):
    """Return the errno of every probe, 0 for a success."""
    found = {}
    for name, probe in PROBES.items():
        found[name] = 0
        try:
            probe(pid)
        except OSError as error:
            found[name] = error.errno
    return found


def run_ordinary(prepare=None):
    """Start an ordinary program that waits; Popen returns after its execve(2)."""
    return subprocess.Popen(python(), preexec_fn=prepare)  # noqa: PLW1509 - no threads here


def probe_ordinary():
    """Run by a uid: probe an ordinary process, which no kernel rule protects."""
    target = run_ordinary()
    try:
        return probe_all(target.pid)
    finally:
        target.kill()
        target.wait()


def probe_helper(prepare=None):
    """Run by a uid: probe a helper, which must still serve its request."""
    with socket.socket() as sock:
        helper = Helper(sock, prepare=prepare).wait_ready()
        found = probe_all(helper.pid)
        helper.send(bind_request())
        return found, helper.outcome()


def not_refused(found):
    return {name for name, error in found.items() if error not in (errno.EPERM, errno.EACCES)}


def kept_out(found):
    return {name for name, error in found.items() if error in (errno.EPERM, errno.EACCES)}


def test_case_01_probes_of_the_same_uid(uid, grant):
    """ptrace, foreign memory, every file in /proc/PID and pidfd_getfd are refused."""
    # Control: the same probes of an ordinary process succeed.
    assert kept_out(as_uid(uid, probe_ordinary)) <= {"map_files"}
    found, outcome = as_uid(uid, probe_helper)
    assert not_refused(found) == set()
    assert outcome == granted()


@pytest.mark.parametrize("capable", [True, False])
def test_case_02_probes_with_suid_dumpable(uid, grant, capable):
    """With fs.suid_dumpable=1 PR_SET_DUMPABLE still makes the kernel refuse all probes."""
    naive = with_capability(support.compile_c(CONFINED))

    def probe_naive():
        target = subprocess.Popen([naive], stdout=subprocess.PIPE)
        assert target.stdout.read(1) == b"x"
        try:
            return probe_all(target.pid)
        finally:
            target.kill()
            target.wait()

    with sysctl("fs/suid_dumpable", 1):
        # Control: without this prctl(2) the program is open to its user.
        assert as_uid(uid, probe_naive)["ptrace seize"] == 0
        prepare = None if capable else lambda: prctl(PR_SET_NO_NEW_PRIVS, 1)
        found, outcome = as_uid(uid, probe_helper, prepare)
    assert not_refused(found) == set()
    assert (outcome.error, outcome.port) == ((0, 80) if capable else (errno.EACCES, 0))


def kill_waiting():
    """Run by a uid: kill a helper before it reads its request."""
    with socket.socket() as sock:
        helper = Helper(sock).wait_ready()
        os.kill(helper.pid, signal.SIGKILL)
        helper.send(bind_request())
        return helper.outcome()


def stop_and_continue():
    """Run by a uid: stop a helper with the request in its queue, then continue it."""
    with socket.socket() as sock:
        helper = Helper(sock).wait_ready()
        os.kill(helper.pid, signal.SIGSTOP)
        support.wait_for(lambda: helper.status()["State"][0] == "T", "the stop")
        helper.send(bind_request())
        before = sock.getsockname()[1]
        os.kill(helper.pid, signal.SIGCONT)
        return before, helper.outcome()


def take_descriptors_away():
    """Run by a uid: leave a helper no descriptor by prlimit(2), before the request."""
    with socket.socket() as sock:
        helper = Helper(sock).wait_ready()
        resource.prlimit(helper.pid, resource.RLIMIT_NOFILE, (0, 0))
        helper.send(bind_request())
        return helper.outcome()


def test_case_03_stop_kill_and_limit(uid, grant):
    """The kernel allows SIGKILL, SIGSTOP and prlimit(2), but none of them binds a port."""
    outcome = as_uid(uid, kill_waiting)
    assert outcome.denied
    assert outcome.status == -signal.SIGKILL
    assert as_uid(uid, stop_and_continue) == (0, granted())
    outcome = as_uid(uid, take_descriptors_away)
    assert outcome.denied
    assert outcome.error == errno.EACCES


def test_case_04_environment(uid, grant):
    """Variables that steer loaders and C libraries do nothing to the helper."""
    folder = support.scratch_dir()
    mark = folder / "mark"
    evil = support.compile_c(
        PRELOADED.replace("MARK", str(mark)), "-shared", "-fPIC", name="evil.so"
    )
    variables = {
        "LD_PRELOAD": str(evil), "LD_AUDIT": str(evil), "LD_LIBRARY_PATH": str(evil.parent),
        "LD_BIND_NOW": "1", "LD_DEBUG": "all", "LD_DEBUG_OUTPUT": str(mark),
        "GLIBC_TUNABLES": "glibc.malloc.mxfast=glibc.malloc.mxfast=" + "A" * 5000,
        "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "1", "LANG": "../../x", "LC_ALL": str(folder),
        "LOCPATH": str(folder), "TMPDIR": str(folder), "RESOLV_HOST_CONF": "/etc/shadow",
        "HOSTALIASES": "/etc/shadow", "PYBIND_PORTS": "ffffb*", "PYBIND_VERBOSE": "1",
        "PATH": str(folder), "IFS": "/", "A" * 4096: "B" * 4096,
    }  # fmt: skip
    # Control: an ordinary program loads the library.
    subprocess.run(["/bin/true"], env={"LD_PRELOAD": str(evil)}, check=True)
    assert mark.exists()
    mark.unlink()
    assert as_uid(uid, lambda: ask(env=variables)) == granted()
    assert as_uid(uid, lambda: ask(request=bind_request(81), env=variables)).denied
    assert list(folder.iterdir()) == []


def quit_by_signal(folder, run):
    """Run by a uid: (core dumped, files left) after SIGQUIT, in a folder of the uid's."""
    os.chdir(folder)

    def allow_cores():
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    target = run(allow_cores)
    os.kill(target.pid, signal.SIGQUIT)
    _, status = os.waitpid(target.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGQUIT
    return os.WCOREDUMP(status), len(list(folder.iterdir()))


@pytest.fixture
def cores():
    """Let the children of the tests dump core; sudo sets the limit to 0."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    support.allow_cores()
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.parametrize("dumpable", [0, 1])
def test_case_20_no_core_dump(uid, dumpable, cores):
    """SIGQUIT leaves no core file, whatever the caller's limit and fs.suid_dumpable say."""
    with sysctl("kernel/core_pattern", "core"), sysctl("fs/suid_dumpable", dumpable):
        # Control: an ordinary program of the uid leaves a core file.
        assert as_uid(uid, quit_by_signal, support.scratch_dir(), run_ordinary) == (True, 1)
        found = as_uid(
            uid,
            quit_by_signal,
            support.scratch_dir(),
            lambda prepare: Helper(prepare=prepare).wait_ready(),
        )
    assert found == (False, 0)
