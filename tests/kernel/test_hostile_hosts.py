# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pybindd can run, and hosts where it cannot: case 80.

The programs load with other layouts of the kernel's structs; refusals of the verifier are shown.
"""

import ctypes
import errno
import os
import re
import subprocess

import cgroups
import printed
import pytest
import support
from running import run_pybindd

from pybind import paths
from pybind.kernel import bpf, obstacles


def test_case_80_outside_the_first_mount_namespace():
    """Without --cgroup pybindd runs only in the mount namespace of process 1."""
    cgroups.able()
    done = run_pybindd(prefix=["unshare", "--mount"])
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
    return run_pybindd(*words, prefix=prefix)


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


def _trial_with(stand_ins, cgroup):
    """Run the trial with parts of the daemon replaced by Python code."""
    code = f"""
import sys
from pybind.kernel import daemon, obstacles
from pybind.kernel.bpf import BpfError
{stand_ins}
sys.exit(daemon.main(["--trial", "--cgroup", {str(cgroup)!r}]))
"""
    return subprocess.run(
        ["/usr/bin/python3", "-c", code], capture_output=True, text=True, cwd=support.REPOSITORY
    )


def test_case_80_locked_down(cgroup):
    """Lockdown is named. Stand-ins play the failing load and the file that says why."""
    stand_ins = f"""
obstacles.LOCKDOWN = {str(support.scratch_dir() / "lockdown")!r}
open(obstacles.LOCKDOWN, "w").write("none integrity [confidentiality]\\n")
def fails(*_): raise BpfError({errno.EINVAL}, "bpf_object__load")
daemon.Program = fails
"""
    done = _trial_with(stand_ins, cgroup)
    assert done.returncode == 3
    assert "locked down (lockdown=confidentiality)" in done.stderr


def test_case_80_old_kernel(cgroup):
    """A kernel without bpf_loop is named. A stand-in fails the load with the verifier's words."""
    stand_ins = f"""
class Old:
    def __init__(self, libbpf, path):
        libbpf.messages.append("invalid func unknown#181")
        raise BpfError({errno.EINVAL}, "bpf_object__load")
daemon.Program = Old
"""
    done = _trial_with(stand_ins, cgroup)
    assert done.returncode == 3
    assert "too old for the programs (bpf_loop came with Linux 5.17)" in done.stderr


def test_case_80_container(cgroup):
    """A user namespace that does not map all users, as in a container, is named."""
    done = run_pybindd(
        "--trial", "--cgroup", cgroup, prefix=["unshare", "--user", "--map-root-user"]
    )
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
        done = run_pybindd("--trial", "--cgroup", path)
        assert done.returncode == 3
        assert text in done.stderr


def test_case_80_as_a_user(cgroup):
    """An ordinary user is told what is missing."""
    done = support.run([cgroups.PYBINDD, "--trial", "--cgroup", cgroup])
    assert done.returncode == 3
    assert "it lacks CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN" in done.stderr


def test_trial_is_good(cgroup):
    """--trial says where pybindd would run, and leaves nothing."""
    done = run_pybindd("--trial", "--cgroup", cgroup)
    assert (done.returncode, done.stdout) == (0, f"pybindd can run here, on {cgroup}\n")
    assert not os.path.exists(paths.PYBINDD_SOCKET)


def test_wrong_option():
    """A wrong option gets the usage and status 2."""
    done = run_pybindd("--no-such")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: pybindd")


NOW = (support.REPOSITORY / "helpers/kernel/kernel.h").read_text()
LAYOUTS = {
    "as here": NOW,
    # Linux 6.1 on x86-64: a counter of 32 bits before the ids, and directly after the ids two
    # words with the set of capabilities.
    "capabilities in two words": NOW.replace("__u64 val;", "__u32 cap[2];").replace(
        "struct cred {\n", "struct cred {\n    int usage;\n"
    ),
}
USES = ("task_struct", "cred", "user_namespace", "group_info", "sock", "net", "bpf_sock_addr_kern")


# More instructions than a log of 16 KiB shows, followed by an unbounded address.
REFUSED = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("cgroup/bind4") int refused(struct bpf_sock_addr *ctx)
{
    volatile unsigned long sum = 0;
#pragma unroll
    for (int i = 0; i < 500; i++)
        sum += ctx->user_port;
    return *(volatile unsigned char *)(sum + 8);
}
char licence[] SEC("license") = "GPL";
"""


class Options(ctypes.Structure):
    """struct bpf_object_open_opts of libbpf 1.0."""

    _fields_ = (
        ("size", ctypes.c_size_t), ("object_name", ctypes.c_char_p), ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p), ("unused", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p), ("btf_custom_path", ctypes.c_char_p),
    )  # fmt: skip


def compiled(text):
    """Return the object file of a program or of types."""
    source, binary = (support.scratch_dir() / f"layout.{end}" for end in ("c", "o"))
    source.write_text(text)
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang", "-target", "bpf", "-O2", "-g", include, "-c", "-o", binary, source]
    subprocess.run(command, check=True)
    return binary


@pytest.mark.parametrize("name", LAYOUTS)
def test_loads_with_the_layout(name):
    """The verifier of this kernel accepts the programs with the offsets of another kernel."""
    cgroups.able()
    variables = "".join(f"struct {each} {each};\n" for each in USES)
    btf = compiled(f"#include <linux/types.h>\n#include <stdbool.h>\n{LAYOUTS[name]}{variables}")
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    library.bpf_object__open_file.restype = ctypes.c_void_p
    library.bpf_object__close.argtypes = library.bpf_object__load.argtypes = [ctypes.c_void_p]
    options = Options(size=ctypes.sizeof(Options), btf_custom_path=str(btf).encode())
    handle = library.bpf_object__open_file(paths.BPF_OBJECT.encode(), ctypes.byref(options))
    assert handle
    try:
        assert library.bpf_object__load(handle) == 0
    finally:
        library.bpf_object__close(handle)


def test_messages_after_the_library_is_forgotten():
    """libbpf still calls the function of a Libbpf that nothing refers to any more."""
    cgroups.able()
    code = """
import gc
from pybind.kernel.bpf import BpfError, Libbpf
Libbpf()
gc.collect()
library = __import__("ctypes").CDLL("libbpf.so.1")
assert not library.bpf_object__open(b"/no/such/file")
"""
    done = subprocess.run(["/usr/bin/python3", "-c", code], cwd=support.REPOSITORY)
    assert done.returncode == 0


def test_reason_of_the_verifier():
    """A refused load is reported with the last words of the verifier."""
    cgroups.able()
    library = bpf.Libbpf()
    with pytest.raises(bpf.BpfError) as raised:
        library.open_and_load(str(compiled(REFUSED)))
    lines = obstacles.not_loaded(raised.value, library.messages).lines
    assert lines[0] == "the kernel did not take the programs: bpf_object__load: Permission denied"
    assert re.fullmatch("the verifier says: R[0-9] invalid mem access '[a-z]+'", lines[1])
