# SPDX-License-Identifier: GPL-3.0-or-later
"""The binaries: what the installed ones may do, and builds for other machines.

Installed: position independence, memory rights, symbols, modes. CET (x86) is not tested:
a static program has its note only if every object has one, and the start files of the
helper's libc have none.

Built: by other compilers, for other machines, with other flags. If a machine lacks an
instruction, a compiler calls a function by name (atomics, division, copies). The preload
library has no such functions, so the loader would end every program under pybind. The
helper and the starter are static: there a missing function ends the link.
"""

import os
import re
import stat
import subprocess

import pytest
import support
from support import HELPER, LIBRARY, PYBIND, REPOSITORY

BINARIES = {"helper": HELPER, "library": LIBRARY, "starter": PYBIND}
# Without the starter: it has no more rights than its user, and is built to start fast.
HARDENED = ("helper", "library")
# Symbols that the library may take from the program's libc, if there is one.
LIBRARY_TAKES = {"__errno_location", "dlsym", "__libc_dlopen_mode", "__libc_dlsym", "environ"}
LIBRARY_GIVES = {
    "bind",
    "prctl",
    "execv",
    "execve",
    "execvp",
    "execvpe",
    "posix_spawn",
    "posix_spawnp",
}
# The helper may not have any of these: heap, environment, other programs, text for people.
NOT_IN_HELPER = {
    "malloc", "calloc", "realloc", "free", "brk", "sbrk", "mmap", "getenv", "secure_getenv",
    "dlopen", "system", "popen", "printf", "fprintf", "snprintf", "syslog", "getpwnam", "getpwuid", "getgrnam", "getaddrinfo",
    "setuid", "seteuid", "setresuid", "setgid", "chdir", "chmod", "chown", "unlink", "rename",
    "inet_ntop", "strtoul", "sscanf",
}  # fmt: skip
# musl's faccessat(3) brings __clone, for flags that the helper does not use.
STARTS_ANOTHER = re.compile(r"_*(f?exec[lv].*|posix_spawn.*|v?fork)|clone.*")
# gcc's flags that leave no other trace than in the debug information.
TOLD = ("-O2", "-fPIE", "-fstack-protector-strong", "-ftrivial-auto-var-init=zero")


def readelf(option, path):
    """Return readelf's lines for one option."""
    command = ["readelf", "-W", option, path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def segments(path):
    """Return [(type, flags)] of the program headers."""
    lines = (line.split() for line in readelf("-l", path))
    return [
        (words[0], "".join(words[6:-1]))
        for words in lines
        if len(words) > 7 and words[1][:2] == "0x"
    ]


def symbols(path, option="-s"):
    """Return {name: (section, binding, visibility)}, without the names of files and sections."""
    lines = (line.split() for line in readelf(option, path))
    found = (w for w in lines if len(w) == 8 and w[3] not in ("FILE", "SECTION"))
    return {w[7].partition("@")[0]: (w[6], w[4], w[5]) for w in found}


def undefined(path):
    """Return {name: binding} of the symbols that a shared library lacks."""
    words = [line.split() for line in readelf("--dyn-syms", path) if " UND " in line]
    return {w[7].partition("@")[0]: w[4] for w in words if len(w) > 7}


@pytest.mark.parametrize("name", HARDENED)
def test_position_independent(name):
    """The kernel or the loader chooses the address."""
    (kind,) = (line.split()[1] for line in readelf("-h", BINARIES[name]) if "Type:" in line)
    assert kind == "DYN"


@pytest.mark.parametrize("name", BINARIES)
def test_no_memory_is_writable_and_executable(name):
    """No segment is writable and executable, and the stack is not executable."""
    found = segments(BINARIES[name])
    assert ("GNU_STACK", "RW") in found
    assert [flags for _, flags in found if "W" in flags and "E" in flags] == []
    assert any("E" in flags for kind, flags in found if kind == "LOAD")


@pytest.mark.parametrize("name", HARDENED)
def test_relocations_are_read_only(name):
    """All symbols are bound at the start, then read-only, and no code is patched."""
    dynamic = "\n".join(readelf("-d", BINARIES[name]))
    assert "GNU_RELRO" in dict(segments(BINARIES[name]))
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic)
    assert "TEXTREL" not in dynamic


@pytest.mark.parametrize("name", BINARIES)
def test_no_search_path(name):
    """No binary names a folder in which libraries are searched."""
    dynamic = "\n".join(readelf("-d", BINARIES[name]))
    assert "RPATH" not in dynamic
    assert "RUNPATH" not in dynamic


@pytest.mark.parametrize("name", HARDENED)
def test_no_loader_and_no_library(name):
    """The helper is static, so no loader reads LD_PRELOAD; the library needs no library."""
    assert "INTERP" not in dict(segments(BINARIES[name]))
    assert "(NEEDED)" not in "\n".join(readelf("-d", BINARIES[name]))


def test_helper_has_a_stack_protector():
    """The helper has a stack protector, so an overflow on its stack ends it."""
    assert "__stack_chk_fail" in symbols(HELPER)


def test_helper_lacks_what_it_does_not_need():
    """The helper has no heap, environment, other program, text output or user names."""
    found = symbols(HELPER)
    assert "main" in found, "stripped: nothing can be said"
    assert NOT_IN_HELPER & set(found) == set()
    assert [name for name in found if STARTS_ANOTHER.fullmatch(name)] == []


def test_helper_was_compiled_as_told():
    """Each file of the helper was compiled to initialise every variable on the stack."""
    command = ["readelf", "--debug-dump=info", HELPER]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    own = [line for line in text.splitlines() if "DW_AT_producer" in line and "-std=c11" in line]
    assert len(own) == len(list((REPOSITORY / "helpers/helper").glob("*.c")))
    assert [(line, flag) for line in own for flag in TOLD if flag not in line.split()] == []


def test_library_takes_and_gives_nothing_else():
    """The library defines only the functions that it wraps, and no other global name."""
    taken = undefined(LIBRARY)
    found = symbols(LIBRARY, "--dyn-syms")
    given = {name for name, (section, kind, _) in found.items() if section.isdigit()}
    assert given == LIBRARY_GIVES
    assert set(taken) <= LIBRARY_TAKES
    assert set(taken.values()) == {"WEAK"}


@pytest.mark.parametrize("name", BINARIES)
def test_owner_and_mode(name):
    """Only root owns and can write each file, and no file is setuid or setgid."""
    state = os.stat(BINARIES[name])
    assert (state.st_uid, state.st_gid) == (0, 0)
    assert stat.S_IMODE(state.st_mode) == 0o755


def test_one_file_has_one_capability():
    """The helper has cap_net_bind_service, permitted and not effective; the others have none."""
    got = subprocess.run(["getcap", *BINARIES.values()], check=True, capture_output=True, text=True)
    assert got.stdout == f"{HELPER} cap_net_bind_service=p\n"


MACHINES = {
    "native": ("gcc", None),
    "arm64": ("aarch64-linux-gnu-gcc", "AArch64"),
    "riscv64": ("riscv64-linux-gnu-gcc", "RISC-V"),
    "i386": ("i686-linux-gnu-gcc", "Intel 80386"),
}
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
        cwd=REPOSITORY, capture_output=True, text=True, timeout=support.PATIENCE_S * 4,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


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
