# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades and removals under running servers, as described in pybind-troubleshooting(7)."""

import contextlib
import subprocess

import printed
import pytest
import support
from installing import make, other_version
from support import HELPER

PROGRAM = """
import os, socket, sys
for line in sys.stdin:
    if line == "child\\n":
        os.system("true")
        print("done", flush=True)
        continue
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", 80))
            print("done: bound", flush=True)
        except OSError as error:
            print("done:", error.strerror, flush=True)
"""


class Running:
    """A running server that binds on request."""

    def __init__(self, mode):
        program = support.scratch_dir() / "program.py"
        program.write_text(PROGRAM)
        self.log = program.with_suffix(".log")
        argv = [support.PYBIND, "-v", "--mode", mode, "--port", "80", "/usr/bin/python3", program]
        with open(self.log, "w") as log:
            pipe = subprocess.PIPE
            self.process = support.as_user(argv, stdin=pipe, stdout=pipe, stderr=log, text=True)

    def ask(self, word):
        """Return the program's answer; messages of pybind go into the log."""
        self.said = self.log.read_text()
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def says(self, text):
        """Wait for a message of pybind, which may come after the program's answer."""
        try:
            support.wait_for(lambda: text in self.log.read_text()[len(self.said) :], text)
        except AssertionError as error:
            raise AssertionError(f"{error}; said: {self.log.read_text()}") from None


@contextlib.contextmanager
def running(mode):
    server = Running(mode)
    try:
        yield server
    finally:
        server.process.stdin.close()
        server.process.wait(support.PATIENCE_S)
        server.process.stdout.close()


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_upgrade(grant80, installed, mode):
    """A running server survives an upgrade with its old library or supervisor."""
    with running(mode) as server:
        assert server.ask("bind") == "done: bound"
        make("install")
        assert server.ask("bind") == "done: bound"


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_another_version(grant80, installed, mode):
    """After a change of the protocol the refusal says so; unprivileged binds still work."""
    with running(mode) as server:
        assert server.ask("bind") == "done: bound"
        other_version()
        assert server.ask("bind") == "done: Permission denied"
        server.says("is of another version")
    done = support.pybind("--port", "80", "true")
    assert done.returncode == 125
    assert "is of another version than this command" in done.stderr
    printed.typed(done.stderr, "helper._decode: sudo {REINSTALL}")
    assert support.pybind("--port", "80", "true").returncode == 0


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_removal(grant80, installed, mode):
    """After a removal a running server can bind no more, and -v says why."""
    with running(mode) as server:
        assert server.ask("bind") == "done: bound"
        make("uninstall")
        assert server.ask("bind") == "done: Permission denied"
        gone = {"preload": "the helper is not in the root directory of this process"}
        server.says(gone.get(mode, f"cannot start {HELPER}"))
        assert server.ask("child") == "done"
        text = "cannot be preloaded (cannot open shared object file): ignored."
        assert (text in server.log.read_text()) == (mode == "preload")
