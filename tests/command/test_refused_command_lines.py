# SPDX-License-Identifier: GPL-3.0-or-later
"""A wrong option, or a program that cannot be executed: a clear error, and nothing is started."""

import pytest
import support
from refusing import refused
from support import UID, pybind


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-x"], ["No such option", "-x"]),
        (["--no-such"], ["No such option", "--no-such", "--help"]),
        (["--port"], ["--port", "requires an argument"]),
        (["--port", "0"], ["port 0 means any free port"]),
        (["--port", "65536"], ["ports are 1 to 65535"]),
        (["--port", "-1"], ["bad port '-1'"]),
        (["--port", "80/xyz"], ["'xyz' is neither tcp nor udp"]),
        (["--port", "[::1"], ["bad port '[::1'"]),
        (["--port", "80"], ["no program is given"]),
        (["--depth", "0"], ["--depth"]),
        (["--depth", "x"], ["--depth"]),
        (["--deep", "--depth", "2"], ["exclude each other"]),
        (["--mode", "magic"], ["magic", "auto"]),
    ],
)
def test_usage(grant80, marked, arguments, words):
    """A wrong command line gets a clear error and status 125, and starts nothing."""
    path, started = marked
    tail = [] if "no program is given" in words else [path]
    done = pybind(*arguments, *tail) if arguments != ["--port"] else pybind("--port")
    refused(done, *words)
    assert not started()


def test_missing_and_not_executable(grant80, marked):
    """The status is 127 for no such program, and 126 for one that cannot be executed."""
    path, started = marked
    refused(pybind("--port", "80", "/nonexistent/x"), "'/nonexistent/x'", status=127)
    refused(pybind("--port", "80", "no-such-program"), "not found in PATH", status=127)
    refused(pybind("--port", "80", ""), "empty", status=127)
    refused(pybind("--port", "80", "/etc"), "not a regular file", status=126)
    path.chmod(0o600)
    refused(pybind("--port", "80", path), f"not executable by uid {UID}", "mode 0600", status=126)
    path.chmod(0o755)
    path.write_text("#!/nonexistent/interpreter\n")
    refused(pybind("--port", "80", path), "interpreter", "/nonexistent/interpreter", status=126)
    assert not started()


def test_script_with_dos_line_ends(grant80):
    """The name of the interpreter ends in a carriage return, and is shown so."""
    path = support.scratch_dir() / "script"
    path.write_text("#!/bin/sh\r\necho no\r\n")
    path.chmod(0o755)
    refused(pybind("--port", "80", path), "interpreter", r"/bin/sh\r", status=126)
