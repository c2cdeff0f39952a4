# SPDX-License-Identifier: GPL-3.0-or-later
"""The launch path imports only what it needs, because imports are most of its cost."""

import pytest
from support import PREFIX, flag, run

# Each of these, with its own imports, takes longer than all modules of pybind.
SLOW = {"_collections_abc", "click", "collections", "contextlib", "enum", "functools", "os", "re",
        "signal", "site", "socket", "stat", "subprocess", "typing"}  # fmt: skip
ALWAYS = {"cli", "_lean", "_wire", "diagnose", "errors", "helper", "launch", "log", "model", "options",
          "paths", "plan", "target"}  # fmt: skip
TELL = """
import sys
sys.path.insert(0, sys.argv[1])
import posix
def tell(*_):
    print(*sys.modules)
    sys.stdout.flush()
    posix._exit(0)
posix.execve = tell
from pybind.cli import main
sys.exit(main(sys.argv[2:], "ooodd:-1:-1:-1"))
"""


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([], set()),
        (["--port", "80"], {"binding", "listed", "output", "ports"}),
        (["--port", "80/tcp", "--depth", "2", "-q"], {"binding", "listed", "output", "ports"}),
        (
            ["--listen", "--port", "80"],
            {"binding", "listed", "listening", "output", "ports"},
        ),
    ],
)
def test_imports(options, more):
    """No slow module is loaded, and of pybind exactly the modules that the options need."""
    flag("byport/80")
    python = ["/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", TELL, f"{PREFIX}/share/pybind"]
    done = run([*python, *options, "--", "/bin/true"])
    modules = set(done.stdout.split())
    ours = {name.partition(".")[2] for name in modules if name.startswith("pybind.")}
    assert ours == ALWAYS | more, done.stderr
    assert not modules & SLOW


def test_starter_leaves_site_packages_to_who_needs_them():
    """bin/pybind starts Python with -S, but --help still finds click."""
    done = run([f"{PREFIX}/bin/pybind", "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "--port" in done.stdout
