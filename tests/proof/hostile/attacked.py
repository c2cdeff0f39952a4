# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are attacked, served by the preload library or a supervisor."""

import contextlib
import os
import pathlib
import shutil
import subprocess

import support
from hostile import with_capability
from support import GID, HELPER, LIBRARY, UID


def under_library(uid, code, *args, env=(), **options):
    """Run Python code with the preload library as uid; return a CompletedProcess.

    The code may call three functions. call(fd, address bytes, length) calls the library's
    bind and returns its errno. name(sock) returns the socket's port. sin(port, addr)
    returns a sockaddr_in as bytes.
    """
    variables = [f"LD_PRELOAD={LIBRARY}", *env]
    argv = ["/usr/bin/env", *variables, "/usr/bin/python3", "-c", TARGET + code, *args]
    gid = GID if uid == UID else uid
    return support.run(argv, uid=uid, gid=gid, **options)


TARGET = """
import ctypes, os, resource, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(sock, address, length=None):
    length = len(address) if length is None else length
    bound = libc.bind(sock.fileno(), address, ctypes.c_uint(length))
    return 0 if bound == 0 else ctypes.get_errno()
def sin(port, addr="127.0.0.1"):
    return struct.pack("=H", 2) + struct.pack("!H", port) + socket.inet_aton(addr) + bytes(8)
def name(sock):
    return sock.getsockname()[1]
"""


@contextlib.contextmanager
def in_the_helpers_place(what, **words):
    """Replace the helper by a binary (a path), which gets the capability, or by a script.

    {real} in a script stands for the path of the real helper, which keeps its capability.
    """
    helper = pathlib.Path(HELPER)
    real, new = (helper.with_name(f"pybind-helper.{word}") for word in ("real", "new"))
    os.link(helper, real)  # a copy would have no capability
    try:
        if isinstance(what, pathlib.Path):
            with_capability(shutil.copy(what, new))
        else:
            new.write_text(what.format(real=real, **words))
            new.chmod(0o755)
        new.rename(helper)
        yield
    finally:
        real.replace(helper)


WAITING = """
sock = socket.socket()
print("ready", flush=True)
sys.stdin.readline()
print(call(sock, sin(80)), name(sock), flush=True)
"""


@contextlib.contextmanager
def waiting_program(uid, mode):
    """Start a program as uid that binds port 80 when it is told; yield its process.

    mode: preload or supervise. The program answers with the errno and the socket's port.
    """
    program = ["/usr/bin/python3", "-c", TARGET + WAITING]
    ways = {
        "preload": ["/usr/bin/env", f"LD_PRELOAD={LIBRARY}"],
        "supervise": [support.PYBIND, "--mode", "supervise", "--"],
    }
    gid = GID if uid == UID else uid
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = support.as_user([*ways[mode], *program], uid=uid, gid=gid, **pipes)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()
        assert process.wait(support.PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def let_bind(process):
    """Tell a waiting program to bind."""
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process):
    """Return the program's answer as (errno, port)."""
    error, port = process.stdout.readline().split()
    return int(error), int(port)


COUNTER = """#!/bin/sh
echo $$ >>{folder}/asked
exec {real}
"""


@contextlib.contextmanager
def counted_helper():
    """Put a script before the helper; yield a function that counts its starts."""
    folder = support.scratch_dir()
    with in_the_helpers_place(COUNTER, folder=folder):
        asked = folder / "asked"
        yield lambda: len(asked.read_text().split()) if asked.exists() else 0


GATE = """#!/bin/sh
echo $$ >>{folder}/started
while [ ! -e {folder}/open ]; do sleep 0.02; done
exec {real}
"""


@contextlib.contextmanager
def gated_helper():
    """Make helpers wait; yield (pids(): those of the started helpers, let_on())."""
    folder = support.scratch_dir()
    started = folder / "started"

    def pids():
        return [int(word) for word in started.read_text().split()] if started.exists() else []

    with in_the_helpers_place(GATE, folder=folder):
        try:
            yield pids, (folder / "open").touch
        finally:
            (folder / "open").touch()
