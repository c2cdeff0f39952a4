# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs load with other layouts of the kernel's structs; refusals of the verifier are shown."""

import ctypes
import os
import re
import subprocess

import cgroups
import pytest
import support

from pybind import paths
from pybind.kernel import bpf, obstacles

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
