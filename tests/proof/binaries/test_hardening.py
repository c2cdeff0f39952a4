# SPDX-License-Identifier: GPL-3.0-or-later
"""What the installed binaries look like: position independence, memory rights, symbols.

CET (x86) is not asked for: a static program keeps its property note only when
every object has one, and the libc that the helper starts with has none.
"""

import os
import re
import stat
import subprocess

import pytest
from support import HELPER, LIBRARY, PYBIND, REPOSITORY

BINARIES = {"helper": HELPER, "library": LIBRARY, "starter": PYBIND}
# The starter has no rights that its user lacks, and is built to start fast.
HARDENED = ("helper", "library")
# What the library may take from whichever libc the program has, if there is one.
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
# None of these belongs in the helper: heap, environment, other programs, text for people.
NOT_IN_HELPER = {
    "malloc", "calloc", "realloc", "free", "brk", "sbrk", "mmap", "getenv", "secure_getenv",
    "dlopen", "system", "popen", "printf", "fprintf", "snprintf", "syslog", "getpwnam", "getpwuid", "getgrnam", "getaddrinfo",
    "setuid", "seteuid", "setresuid", "setgid", "chdir", "chmod", "chown", "unlink", "rename",
    "inet_ntop", "strtoul", "sscanf",
}  # fmt: skip
# musl's faccessat(3) brings a __clone, for flags that the helper does not use.
STARTS_ANOTHER = re.compile(r"_*(f?exec[lv].*|posix_spawn.*|v?fork)|clone.*")
# Of the flags that leave no other trace; what gcc was told is in its debug information.
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
    """Return {name: (section, binding, visibility)}; names of files and sections are no symbols."""
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
    """No segment is both, and the stack is no place for code."""
    found = segments(BINARIES[name])
    assert ("GNU_STACK", "RW") in found
    assert [flags for _, flags in found if "W" in flags and "E" in flags] == []
    assert any("E" in flags for kind, flags in found if kind == "LOAD")


@pytest.mark.parametrize("name", HARDENED)
def test_relocations_are_read_only(name):
    """Everything is bound at the start and read-only after; no text is patched."""
    dynamic = "\n".join(readelf("-d", BINARIES[name]))
    assert "GNU_RELRO" in dict(segments(BINARIES[name]))
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic)
    assert "TEXTREL" not in dynamic


@pytest.mark.parametrize("name", BINARIES)
def test_no_search_path(name):
    """No library is looked for in a folder that the binary names."""
    dynamic = "\n".join(readelf("-d", BINARIES[name]))
    assert "RPATH" not in dynamic
    assert "RUNPATH" not in dynamic


@pytest.mark.parametrize("name", HARDENED)
def test_no_loader_and_no_library(name):
    """The helper is static: no loader reads LD_PRELOAD. The library depends on nothing."""
    assert "INTERP" not in dict(segments(BINARIES[name]))
    assert "(NEEDED)" not in "\n".join(readelf("-d", BINARIES[name]))


def test_helper_has_a_stack_protector():
    """An overflow of a buffer on the helper's stack ends it."""
    assert "__stack_chk_fail" in symbols(HELPER)


def test_helper_lacks_what_it_does_not_need():
    """No heap, no environment, no other program, no text output, no names of users."""
    found = symbols(HELPER)
    assert "main" in found, "stripped: nothing can be said"
    assert NOT_IN_HELPER & set(found) == set()
    assert [name for name in found if STARTS_ANOTHER.fullmatch(name)] == []


def test_helper_was_compiled_as_told():
    """Each of the helper's own files: no variable on the stack starts with what lay there."""
    command = ["readelf", "--debug-dump=info", HELPER]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    own = [line for line in text.splitlines() if "DW_AT_producer" in line and "-std=c11" in line]
    assert len(own) == len(list((REPOSITORY / "helpers/helper").glob("*.c")))
    assert [(line, flag) for line in own for flag in TOLD if flag not in line.split()] == []


def test_library_takes_and_gives_nothing_else():
    """The library defines what it sees the program call, and nothing else that meets its names."""
    found = symbols(LIBRARY, "--dyn-syms")
    taken = {name: kind for name, (section, kind, _) in found.items() if section == "UND" and name}
    given = {name for name, (section, kind, _) in found.items() if section.isdigit()}
    assert given == LIBRARY_GIVES
    assert set(taken) <= LIBRARY_TAKES
    assert set(taken.values()) == {"WEAK"}


@pytest.mark.parametrize("name", BINARIES)
def test_owner_and_mode(name):
    """Root's, written by nobody else, and nothing is setuid or setgid."""
    state = os.stat(BINARIES[name])
    assert (state.st_uid, state.st_gid) == (0, 0)
    assert stat.S_IMODE(state.st_mode) == 0o755


def test_one_file_has_one_capability():
    """The helper has cap_net_bind_service, permitted and not effective; the others have none."""
    got = subprocess.run(["getcap", *BINARIES.values()], check=True, capture_output=True, text=True)
    assert got.stdout == f"{HELPER} cap_net_bind_service=p\n"
