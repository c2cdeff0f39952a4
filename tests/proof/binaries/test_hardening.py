# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed binaries: position independence, memory rights, symbols.

CET (x86) is not tested: a static program has its note only if every object has one, and
the start files of the helper's libc have none.
"""

import os
import re
import stat
import subprocess

import pytest
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
    found = symbols(LIBRARY, "--dyn-syms")
    taken = {name: kind for name, (section, kind, _) in found.items() if section == "UND" and name}
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
