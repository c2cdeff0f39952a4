# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the C for other machines and by other compilers.

If a machine lacks an instruction, a compiler calls a function by name (atomics,
division, copies). The preload library has no such functions, so the loader would end
every program under pybind. The helper and the starter are static: there a missing
function ends the link.
"""

import re
import subprocess

import pytest
import support

MACHINES = {
    "native": ("gcc", None),
    "arm64": ("aarch64-linux-gnu-gcc", "AArch64"),
    "riscv64": ("riscv64-linux-gnu-gcc", "RISC-V"),
    "i386": ("i686-linux-gnu-gcc", "Intel 80386"),
}
# Symbols that the library may take from the program's libc, if there is one.
LIBRARY_TAKES = {"__errno_location", "dlsym", "__libc_dlopen_mode", "__libc_dlsym", "environ"}
# Flags of distributions: they change which functions a compiler calls by name.
BUILT_WITH = {
    "debian": "-g -O2 -flto=auto -ffat-lto-objects -fstack-protector-strong "
    "-fstack-clash-protection -D_FORTIFY_SOURCE=2",
    "fedora": "-O2 -fexceptions -g -fasynchronous-unwind-tables -fstack-protector-strong "
    "-fno-omit-frame-pointer -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3",
    "O0": "-O0 -g",
    "O3": "-O3",
    "Os": "-Os",
}
PROGRAM = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
    int yes = 1, status;
    for (int i = 0; i < 20; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
            return perror("bind"), 1;
        if (i % 2 && waitpid(-1, &status, __WALL) != -1)
            return puts("a child was left"), 1;
        if (i < 19 && dup2(0, fd) != fd)
            return perror("dup2"), 1;
    }
    return puts("bound"), 0;
}
"""


def build(compiler, *targets, **variables):
    """Build the given targets in a new folder; return the folder."""
    folder = support.scratch_dir()
    settings = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "-s", f"BUILD={folder}", f"CC={compiler}", *settings]
    done = subprocess.run(
        [*command, *(f"{folder}/{name}" for name in targets)],
        cwd=support.REPOSITORY, capture_output=True, text=True, timeout=support.PATIENCE_S * 4,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def undefined(path):
    """Return {name: binding} of the symbols that a shared library lacks."""
    command = ["readelf", "-W", "--dyn-syms", path]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    words = [line.split() for line in text.splitlines() if " UND " in line]
    return {w[7].partition("@")[0]: w[4] for w in words if len(w) > 7}


def check_library(path):
    """Check that the library lacks only symbols that it can do without."""
    found = undefined(path)
    assert set(found) <= LIBRARY_TAKES
    assert set(found.values()) <= {"WEAK"}


@pytest.mark.parametrize("machine", MACHINES)
def test_built_for_each_machine(machine):
    """Helper, library and starter can be built, and the library lacks no symbol."""
    compiler, name = MACHINES[machine]
    variables = {}
    if machine != "native":
        variables["MUSL_GCC"] = ""  # musl-gcc cannot build for another machine
    if machine == "riscv64":  # Debian 12's libc for it has no start files for -static-pie
        variables["HELPER_LINK"] = "-static $(HELPER_SRC)"
    folder = build(compiler, "libpybind.so", "pybind-helper", "pybind", **variables)
    for binary in ("libpybind.so", "pybind-helper", "pybind"):
        command = ["readelf", "-h", folder / binary]
        head = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert name is None or re.search(rf"Machine: +{name}\b", head), binary
    check_library(folder / "libpybind.so")


@pytest.mark.parametrize("flags", BUILT_WITH.values(), ids=BUILT_WITH)
@pytest.mark.parametrize("machine", MACHINES)
def test_built_with_others_flags(machine, flags):
    """The same holds with the flags of distributions and at each optimisation level."""
    check_library(build(MACHINES[machine][0], "libpybind.so", CFLAGS=flags) / "libpybind.so")


def test_built_with_clang():
    """The same holds with clang."""
    check_library(build("clang", "libpybind.so") / "libpybind.so")


def test_undefined_symbol_ends_the_build():
    """A function that nobody provides ends the build, before it could end users' programs."""
    source = support.scratch_dir() / "calls.c"
    source.write_text(
        "int nobody_has_it(void);\nint calls(void);\n"
        "int calls(void) { return nobody_has_it(); }\n"
    )
    with pytest.raises(AssertionError, match="undefined reference to .nobody_has_it"):
        build("gcc", "libpybind.so", LIBRARY_SRC=f"$(wildcard helpers/preload/*.c) {source}")


def test_serves_32_bit_programs(grant80):
    """The i386 library serves a 32-bit program, where the kernel runs one."""
    library = build("i686-linux-gnu-gcc", "libpybind.so") / "libpybind.so"
    root = "/usr/i686-linux-gnu/lib"
    program = support.compile_c(
        PROGRAM, f"-Wl,--dynamic-linker={root}/ld-linux.so.2", f"-Wl,-rpath,{root}",
        compiler="i686-linux-gnu-gcc",
    )  # fmt: skip
    plain = support.run([program])
    if plain.returncode in (126, 127):
        pytest.skip("this kernel runs no 32-bit programs (CONFIG_IA32_EMULATION)")
    assert "Permission denied" in plain.stderr, plain
    served = support.run(["/usr/bin/env", f"LD_PRELOAD={library}", program])
    assert (served.returncode, served.stdout) == (0, "bound\n"), served.stderr
