# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs load where the kernel's structs lie otherwise than in this kernel."""

import ctypes
import os
import subprocess

import cgroups
import pytest
import support

from pybind import paths

NOW = (support.REPOSITORY / "helpers/kernel/kernel.h").read_text()
LAYOUTS = {
    "as here": NOW,
    # Linux 6.1 on x86-64: a counter of 32 bits before the ids, and the set of capabilities in
    # two words that follow them at once.
    "capabilities in two words": NOW.replace("__u64 val;", "__u32 cap[2];").replace(
        "struct cred {\n", "struct cred {\n    int usage;\n"
    ),
}
USES = ("task_struct", "cred", "user_namespace", "group_info", "sock", "net", "bpf_sock_addr_kern")


class Options(ctypes.Structure):
    """struct bpf_object_open_opts of libbpf 1.0."""

    _fields_ = (
        ("size", ctypes.c_size_t), ("object_name", ctypes.c_char_p), ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p), ("unused", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p), ("btf_custom_path", ctypes.c_char_p),
    )  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_loads_with_the_layout(name):
    """The verifier of this kernel takes them with the offsets of another."""
    cgroups.able()
    source, btf = (support.scratch_dir() / f"layout.{end}" for end in ("c", "o"))
    variables = "".join(f"struct {each} {each};\n" for each in USES)
    source.write_text(f"#include <linux/types.h>\n#include <stdbool.h>\n{LAYOUTS[name]}{variables}")
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang", "-target", "bpf", "-O2", "-g", include, "-c", "-o", btf, source]
    subprocess.run(command, check=True)
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
