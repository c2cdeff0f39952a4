# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/keeper: the port stays taken while the program is restarted."""

import contextlib
import os
import pathlib
import signal
import socket

import placing
import pytest
import support
from support import OTHER_UID, UID

# A server that takes its socket by sd_listen_fds(3) and answers with its process ID. It
# does not answer while a file `hold` exists, exits at once with the status in a file
# `fail`, and writes the signals that it gets into `signals`.
PROGRAM = """#!/usr/bin/python3
import os, pathlib, signal, socket, sys, time
here = pathlib.Path(__file__).parent
with (here / "starts").open("a") as file:
    file.write("x")
if (here / "fail").exists():
    sys.exit(int((here / "fail").read_text()))
assert (os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"]) == (str(os.getpid()), "1")
def stop(number, frame):
    with (here / "signals").open("a") as file:
        file.write(signal.Signals(number).name + "\\n")
    while (here / "hold").exists():
        time.sleep(0.01)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
while (here / "hold").exists():
    time.sleep(0.01)
server = socket.socket(fileno=3)
while True:
    client, _ = server.accept()
    client.sendall(b"%d" % os.getpid())
    client.close()
"""
TAKE = """
import socket
for option in (0, 2, 15, (2, 15)):  # SO_REUSEADDR, SO_REUSEPORT
    sock = socket.socket()
    for name in option if isinstance(option, tuple) else (option,) * bool(option):
        sock.setsockopt(socket.SOL_SOCKET, name, 1)
    try:
        sock.bind(("0.0.0.0", 80))
        print("bound")
    except OSError as error:
        print(error.errno)
    sock.close()
"""


@pytest.fixture
def folder():
    """Grant two users the port; return a folder with the program."""
    for uid in (UID, OTHER_UID):
        support.rules(f"byuser/{uid}", "any,80/tcp")
    path = support.scratch_dir()
    (path / "program").write_text(PROGRAM)
    (path / "program").chmod(0o755)
    placing.install("keeper/keep", path / "keep")
    return path


@contextlib.contextmanager
def keeper(folder, *program):
    argv = [support.PYBIND, "--listen", "--port", "80/tcp", "--", folder / "keep",
            *(program or [folder / "program"])]  # fmt: skip
    with support.server(argv) as process:
        yield process


def connect():
    return socket.create_connection(("127.0.0.1", 80), timeout=support.PATIENCE_S)


def answer():
    """Return the process ID that the program answers with."""
    with connect() as sock:
        return int(sock.recv(100))


def starts(folder):
    path = folder / "starts"
    return len(path.read_text()) if path.exists() else 0


def taken_by_other():
    """Let another user, who has the grant too, try to bind the port; return the output."""
    argv = [support.PYBIND, "--", "/usr/bin/python3", "-c", TAKE]
    done = support.run(argv, uid=OTHER_UID, gid=OTHER_UID)
    return done.stdout.split()


def listening():
    try:
        connect().close()
    except OSError:
        return False
    return True


def test_the_port_is_kept(folder):
    """After a kill nobody can take the port, and the next program serves waiting clients."""
    with keeper(folder) as process:
        support.wait_for(listening, "the keeper to listen")
        first = answer()
        assert first != process.pid
        (folder / "hold").touch()
        os.kill(first, signal.SIGKILL)
        support.wait_for(lambda: placing.gone(first), "it to be dead")
        with connect() as client:
            assert taken_by_other() == ["98"] * 4  # EADDRINUSE
            support.wait_for(lambda: starts(folder) == 2, "the keeper to start it again")
            assert taken_by_other() == ["98"] * 4
            (folder / "hold").unlink()
            second = int(client.recv(100))
        assert second not in (first, process.pid)
        assert answer() == second
        assert "keep: " in process.log.read_text()
    assert "status 137, starting it again" in process.log.read_text()
    assert taken_by_other() == ["bound"] * 4  # so it was the socket that kept the other out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on(folder, number):
    """A stop signal goes to the program; the loop ends with its status and frees the port."""
    with keeper(folder) as process:
        support.wait_for(listening, "the keeper to listen")
        program = answer()
        (folder / "hold").touch()
        os.kill(process.pid, number)
        support.wait_for((folder / "signals").exists, "the program to be told")
        assert process.poll() is None  # the loop waits for the program
        assert not placing.gone(program)
        (folder / "hold").unlink()
        assert process.wait(support.PATIENCE_S) == 7
        assert (folder / "signals").read_text() == "SIGTERM\n"
        assert placing.gone(program)
        assert starts(folder) == 1
    assert placing.free()


def test_a_stop_in_the_pause(folder):
    """A program that fails at once is tried again; a stop between two tries ends the loop."""
    (folder / "fail").write_text("3")
    with keeper(folder) as process:
        support.wait_for(lambda: starts(folder) >= 2, "a second try")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(support.PATIENCE_S) in (3, 143)  # 143: the program was just starting
        support.wait_for(placing.free, "the port to be free")


@pytest.mark.parametrize("status", [0, 126, 127])
def test_ends_with_the_program(folder, status):
    """A program that exits with 0, or cannot be started, is not started again."""
    (folder / "fail").write_text(str(status))
    with keeper(folder) as process:
        assert process.wait(support.PATIENCE_S) == status
    assert starts(folder) == 1


def test_a_program_that_is_missing(folder):
    """A missing program ends the loop with status 127."""
    with keeper(folder, folder / "missing") as process:
        assert process.wait(support.PATIENCE_S) == 127


def test_wrong_use(folder):
    """Nothing is started without a program, or without pybind --listen around the loop."""
    for words, env in (([], {"LISTEN_FDS": "1"}), ([folder / "program"], {})):
        done = support.run([folder / "keep", *words], env={"PATH": "/usr/bin:/bin", **env})
        assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")
    assert not pathlib.Path(folder / "starts").exists()
