# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs at the same hooks, and hosts where pybindd cannot run: cases 78 and 80."""

import contextlib
import ctypes
import errno
import os
import pathlib
import subprocess

import cgroups
import printed
import pytest
import running
import support
from running import run_in, worker
from support import flag, rules

from pybind import paths
from pybind.kernel.bpf import Libbpf

SOURCE = pathlib.Path(__file__).with_name("src") / "other.bpf.c"
CGROUP_INET4_BIND = 8  # enum bpf_attach_type


@pytest.fixture(scope="module")
def others():
    """Compile and load programs of other tools; return a function that attaches one."""
    binary = support.scratch_dir() / "other.bpf.o"
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang", "-target", "bpf", "-O2", "-g", include, "-c", "-o", binary, SOURCE]
    subprocess.run(command, check=True)
    libbpf = Libbpf()
    handle = libbpf.open_and_load(str(binary))

    @contextlib.contextmanager
    def attached(name, cgroup):
        fd = os.open(cgroup, os.O_RDONLY)
        link = libbpf.attach(handle, name, fd)
        try:
            yield
        finally:
            libbpf.detach(link)
            os.close(fd)

    return attached


def _find_program(name):
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    at = ctypes.c_uint32(0)
    while library.bpf_prog_get_next_id(at.value, ctypes.byref(at)) == 0:
        fd = library.bpf_prog_get_fd_by_id(at.value)
        info = (ctypes.c_ubyte * 256)()
        size = ctypes.c_uint32(len(info))
        library.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(size))
        if bytes(info[64:80]).rstrip(b"\0").decode() == name[:15]:
            return library, fd
        os.close(fd)
    raise AssertionError(f"no program {name}")


def test_case_78_denied(daemon, user, others):
    """A bind that another program denies stays denied."""
    flag("byport/80")
    daemon.sync()
    assert user.may()
    with others("denies", daemon.cgroup):
        assert user.bind() == errno.EPERM
    with others("allows", daemon.cgroup):
        assert user.may()
    assert user.may()


@pytest.mark.parametrize("name", ["rewrites_port", "rewrites_address"])
def test_case_78_rewritten(daemon, user, others, name):
    """If another program rewrites the judged address, bind(2) fails with EPERM."""
    rules(f"byuser/{support.UID}", "127.0.0.1,80")
    daemon.sync()
    with others(name, daemon.cgroup):
        assert user.bind() == errno.EPERM
        assert user.bind("127.0.0.1", 22) == errno.EACCES
    assert user.may()
    support.wait_for(lambda: "after it was judged" in daemon.log, "the log's reason")


def test_case_78_rewritten_mapped(daemon, user, others):
    """The same holds for a v4-mapped address."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    with others("rewrites_port6", daemon.cgroup):
        assert user.bind("::1") == errno.EPERM
        assert user.bind("::ffff:127.0.0.1") == errno.EPERM
    assert user.may("::1")


def test_case_78_rewritten_before(others):
    """If a program rewrites the address before ours runs, ours judges the new address."""
    with cgroups.group() as cgroup, others("rewrites_port", cgroup):
        daemon = running.Pybindd(cgroup)
        try:
            flag("byport/80")
            daemon.sync()
            with worker(cgroup) as user:
                assert user.bind() in (errno.EACCES, errno.EPERM)
                flag("byport/22")
                (support.CONFIG / "byport/80").unlink()
                daemon.sync()
                error = user.call(_bind_wherever)
                assert error in ((0, 22), (errno.EACCES, 0), (errno.EPERM, 0))
        finally:
            daemon.stop()


def _bind_wherever():
    import socket

    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", 80))
        except OSError as error:
            return error.errno, sock.getsockname()[1]
        return 0, sock.getsockname()[1]


def test_case_78_rewritten_while_two_bind(daemon, others):
    """Two threads bind one socket under a rewriter: an ungranted port is never bound."""
    rules(f"byuser/{support.UID}", "127.0.0.1,80")
    daemon.sync()
    program = support.compile_c(RACE, "-pthread")
    with others("rewrites_port", daemon.cgroup):
        said = run_in(daemon.cgroup, [program])
    bound, refused = map(int, said.split())
    assert bound == 0
    assert refused > 0


RACE = r"""
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static int fd;
static void *other(void *unused)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(81), .sin_addr = {htonl(0x7f000001)}};
    bind(fd, (void *)&a, sizeof a);
    return unused;
}
int main(void)
{
    int wrong = 0, refused = 0;
    for (int i = 0; i < 5000; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(0x7f000001)}};
        pthread_t thread;
        fd = socket(AF_INET, SOCK_STREAM, 0);
        pthread_create(&thread, 0, other, 0);
        refused += bind(fd, (void *)&a, sizeof a) != 0;
        pthread_join(thread, 0);
        socklen_t len = sizeof a;
        getsockname(fd, (void *)&a, &len);
        wrong += a.sin_port != 0;
        close(fd);
    }
    printf("%d %d\n", wrong, refused);
}
"""


def test_case_78_granted_by_another(daemon, user, others):
    """A grant of another program works as without pybindd, also on a socket judged by us."""
    flag("byport/81")
    daemon.sync()
    with others("grants", daemon.cgroup):
        assert user.bind() == 0
    assert user.bind() == errno.EACCES


def test_case_78_landlock(daemon):
    """A Landlock sandbox that forbids the bind still refuses it."""
    flag("byport/80", mode=0o755)
    daemon.sync()
    source = support.REPOSITORY / "tests/proof/hostile/src/landlocked.c"
    include = f"-I{support.REPOSITORY / 'tests/proof/hostile/src'}"
    more = f"-I{support.REPOSITORY / 'tests/programs/src'}"
    program = support.compile_c(source.read_text(), include, more)
    said = run_in(daemon.cgroup, [program])
    if said == "none\n":
        pytest.skip("this kernel has no Landlock for ports")
    assert said.split() == [str(errno.EACCES), "0", str(errno.EACCES), "0"]


def test_case_78_exclusive(others):
    """If a program allows no other beside it, pybindd says so and ends."""
    with cgroups.group() as cgroup:
        below = cgroup / "below"
        below.mkdir()
        library, program = _find_program("allows")
        fd = os.open(cgroup, os.O_RDONLY)
        try:
            assert library.bpf_prog_attach(program, fd, CGROUP_INET4_BIND, 0) == 0
            done = _run("--cgroup", below)
            assert done.returncode == 3
            assert "is attached that allows no other beside it" in done.stderr
            name = "obstacles.not_attached: sudo bpftool cgroup tree ..."
            printed.typed(done.stderr, name)
            assert library.bpf_prog_detach2(program, fd, CGROUP_INET4_BIND) == 0
        finally:
            os.close(fd)
            os.close(program)


def _run(*words, prefix=(), **options):
    command = [*prefix, cgroups.PYBINDD, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_case_80_outside_the_first_mount_namespace():
    """Without --cgroup pybindd runs only in the mount namespace of process 1."""
    cgroups.able()
    done = _run(prefix=["unshare", "--mount"])
    assert done.returncode == 3
    assert "not the mount namespace of process 1" in done.stderr


@pytest.fixture
def cgroup():
    with cgroups.group() as made:
        yield made


# What is missing -> (command that drops the capability, words of the message).
OBSTACLES = {
    "capability": (["capsh", "--drop=cap_bpf,cap_sys_admin", "--"], "it lacks CAP_BPF"),
    "performance": (["capsh", "--drop=cap_perfmon,cap_sys_admin", "--"], "it lacks CAP_PERFMON"),
    "network": (["capsh", "--drop=cap_net_admin,cap_sys_admin", "--"], "it lacks CAP_NET_ADMIN"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_case_80_capabilities(cgroup, name):
    """Each missing capability is named."""
    prefix, text = OBSTACLES[name]
    done = subprocess.run(
        [*prefix, "-c", f"exec {cgroups.PYBINDD} --cgroup {cgroup}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_case_80_three_capabilities_suffice(cgroup):
    """CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are enough, as the unit gives them."""
    done = subprocess.run(
        ["capsh", f"--drop={','.join(_all_but_three())}", "--", "-c",
         f"exec {cgroups.PYBINDD} --trial --cgroup {cgroup}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _all_but_three():
    known = subprocess.run(["capsh", "--print"], capture_output=True, text=True).stdout
    line = next(x for x in known.splitlines() if x.startswith("Bounding set"))
    names = line.partition("=")[2].split(",")
    return [name for name in names if name not in ("cap_bpf", "cap_net_admin", "cap_perfmon")]


def _covered(target, script, *words):
    """Run pybindd in a mount namespace of its own in which something covers `target`."""
    prefix = ["unshare", "--mount", "sh", "-c", f'{script}\nexec "$@"', "sh"]
    return _run(*words, prefix=prefix)


def test_case_80_no_cgroup2():
    """Without a unified hierarchy (unmounted here) the message says how to mount one."""
    cgroups.able()
    trial = f"{cgroups.PYBINDD} --trial"
    script = f"umount -R {cgroups.root()}; {trial}; {{}} && {trial}"
    namespace = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"]
    done = subprocess.run(
        [*namespace, script.format("false")], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.startswith("pybindd: no control group hierarchy of version 2 is mounted")
    name = "obstacles.find_cgroup: sudo mount -t cgroup2 none /sys/fs/cgroup"
    command = printed.said(done.stderr, name)
    done = subprocess.run(
        [*namespace, script.format(command)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_case_80_another_mount_namespace(cgroup):
    """Where /etc/pybind may be another than the host's: said, and a group of one's own works."""
    done = _covered("namespace", "true", "--trial")
    assert done.returncode == 3
    assert "this is not the mount namespace of process 1" in done.stderr
    option = printed.said(done.stderr, "obstacles.check_place: pybindd --cgroup DIR").split()[1]
    assert _covered("namespace", "true", "--trial", option, cgroup).returncode == 0


def test_case_80_no_btf(cgroup):
    """A kernel without BTF, played by a covered folder, is named."""
    done = _covered("btf", "mount -t tmpfs none /sys/kernel/btf", "--trial", "--cgroup", cgroup)
    assert done.returncode == 3
    assert "has no /sys/kernel/btf/vmlinux" in done.stderr


def test_case_80_locked_down(cgroup):
    """Lockdown is named. Stand-ins play the failing load and the file that says why."""
    code = f"""
import sys
from pybind.kernel import obstacles, daemon
from pybind.kernel.bpf import BpfError
obstacles.LOCKDOWN = {str(support.scratch_dir() / "lockdown")!r}
open(obstacles.LOCKDOWN, "w").write("none integrity [confidentiality]\\n")
def fails(*_): raise BpfError({errno.EINVAL}, "bpf_object__load")
daemon.Program = fails
sys.exit(daemon.main(["--trial", "--cgroup", {str(cgroup)!r}]))
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code], capture_output=True, text=True, cwd=support.REPOSITORY
    )
    assert done.returncode == 3
    assert "locked down (lockdown=confidentiality)" in done.stderr


def test_case_80_old_kernel(cgroup):
    """A kernel without bpf_loop is named. A stand-in fails the load with the verifier's words."""
    code = f"""
import sys
from pybind.kernel import daemon
from pybind.kernel.bpf import BpfError, Libbpf
class Old:
    def __init__(self, libbpf, path):
        libbpf.messages.append("invalid func unknown#181")
        raise BpfError({errno.EINVAL}, "bpf_object__load")
daemon.Program = Old
sys.exit(daemon.main(["--trial", "--cgroup", {str(cgroup)!r}]))
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code], capture_output=True, text=True, cwd=support.REPOSITORY
    )
    assert done.returncode == 3
    assert "too old for the programs (bpf_loop came with Linux 5.17)" in done.stderr


def test_case_80_container(cgroup):
    """A user namespace that does not map all users, as in a container, is named."""
    done = _run("--trial", "--cgroup", cgroup, prefix=["unshare", "--user", "--map-root-user"])
    assert done.returncode == 3
    assert "uid_map is not the identity" in done.stderr


@pytest.mark.parametrize("what", ["object", "library"])
def test_case_80_not_installed(cgroup, what):
    """A missing libbpf or object file is named."""
    if what == "object":
        hide = f"mount --bind /dev/null {paths.BPF_OBJECT} && mount -t tmpfs none {support.PREFIX}/lib/pybind"
        expected = "pybind.bpf.o is missing: pybind was built without clang"
    else:
        libraries = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True).stdout
        path = next(x.split()[-1] for x in libraries.splitlines() if "libbpf.so.1 " in x)
        hide = f"mount --bind /dev/null {os.path.realpath(path)}"
        expected = "libbpf.so.1 cannot be loaded"
    done = _covered(what, hide, "--trial", "--cgroup", cgroup)
    assert done.returncode == 3
    assert expected in done.stderr
    assert "apt-get install" in done.stderr


def test_case_80_no_group(tmp_path):
    """--cgroup with a path that is no control group, or does not exist, is an error."""
    for path, text in ((tmp_path, "is not a control group"), (tmp_path / "x", "No such file")):
        done = _run("--trial", "--cgroup", path)
        assert done.returncode == 3
        assert text in done.stderr


def test_case_80_as_a_user(cgroup):
    """An ordinary user is told what is missing."""
    done = support.run([cgroups.PYBINDD, "--trial", "--cgroup", cgroup])
    assert done.returncode == 3
    assert "it lacks CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN" in done.stderr


def test_trial_is_good(cgroup):
    """--trial says where pybindd would run, and leaves nothing."""
    done = _run("--trial", "--cgroup", cgroup)
    assert (done.returncode, done.stdout) == (0, f"pybindd can run here, on {cgroup}\n")
    assert not os.path.exists(paths.PYBINDD_SOCKET)


def test_wrong_option():
    """A wrong option gets the usage and status 2."""
    done = _run("--no-such")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: pybindd")
