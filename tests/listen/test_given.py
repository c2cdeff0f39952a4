# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that take sockets: each serves port 80 as nobody, even sandboxed from the start."""

import pathlib
import shutil
import socket

import launching
import pytest
import supervising
import support
from launching import need
from support import GID, PYBIND, UID

BOTH = ("127.0.0.1", "::1")
ANSWER = f"uid {UID}".encode()
WSGI = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"uid %d" % os.getuid()]
"""
ASGI = """
import os
async def app(scope, receive, send):
    assert scope["type"] == "http", scope
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"uid %d" % os.getuid()})
"""
BETWEEN = {"alone": [], "no_new_privs": ["/usr/bin/setpriv", "--no-new-privs"]}

pytestmark = [
    pytest.mark.usefixtures("grant80"),
    pytest.mark.parametrize("between", BETWEEN.values(), ids=list(BETWEEN)),
]


def serves(between, *program, option="--listen", port="80", **options):
    """Assert that PROGRAM serves IPv4 and IPv6 on the socket that it is given."""
    argv = [PYBIND, option, "--port", port, "--", *between, *program]
    with support.server(argv, ready=support.answers_http, **options) as process:
        assert [support.http_get(host) for host in BOTH] == [ANSWER, ANSWER]
        status = supervising.status_of(process.pid)
        # The server has the process ID of pybind, with no process between.
        assert status["NoNewPrivs"] == ("1" if between else "0")
        environ = pathlib.Path(f"/proc/{process.pid}/environ").read_bytes()
        maps = pathlib.Path(f"/proc/{process.pid}/maps").read_text()
    assert b"LD_PRELOAD" not in environ
    assert "libpybind" not in maps


def app(text):
    """Return a folder with TEXT as its module `app`."""
    folder = support.scratch_dir()
    (folder / "app.py").write_text(text)
    return folder


@pytest.fixture
def static_server():
    """Return server.c as a static program."""
    return launching.server("-static")


@pytest.fixture(scope="module")
def libsystemd_server():
    """Return server.c with systemd's client library."""
    assert pathlib.Path(
        "/usr/include/systemd/sd-daemon.h"
    ).exists(), "libsystemd is missing: apt-get install libsystemd-dev"
    return launching.server("-DLIBSYSTEMD", "-lsystemd")


@pytest.mark.program("gunicorn", "gunicorn")
def test_gunicorn(between):
    """Gunicorn finds LISTEN_FDS by itself."""
    gunicorn = need("/usr/bin/gunicorn", "gunicorn")
    folder = app(WSGI)
    serves(between, gunicorn, "--chdir", folder, "app:app", cwd=folder)


@pytest.mark.program("uvicorn", "uvicorn")
def test_uvicorn(between):
    """Uvicorn is told the number."""
    uvicorn = need("/usr/bin/uvicorn", "uvicorn")
    serves(between, uvicorn, "--app-dir", app(ASGI), "--fd", "{fd}", "app:app")


@pytest.mark.program("Node.js", "nodejs")
def test_node(between):
    """Node is told the number."""
    source = launching.copy_source("server.js", support.scratch_dir())
    serves(between, need("/usr/bin/node", "nodejs"), source, "given", "{fd}")


@pytest.mark.program("Go net/http", "golang-go")
def test_go(between):
    """A Go program reads LISTEN_FDS and compares LISTEN_PID."""
    serves(between, launching.go_server(), "given")


@pytest.mark.program("libsystemd", "libsystemd-dev")
def test_libsystemd(between, libsystemd_server):
    """systemd's own library finds the socket, its kind and its name."""
    serves(between, libsystemd_server, "given", "web", port="web=80")
    serves(between, libsystemd_server, "given", "unknown")


@pytest.mark.program("Java inheritedChannel", "/usr/bin/java")
def test_java(between):
    """A Java program gets the channel that it inherits."""
    java = [*launching.JAVA, "-cp", launching.java_classes(), "Answer", "inherited"]
    serves(between, *java, option="--inetd")


@pytest.mark.program("server.c, static")
def test_static(between, static_server):
    """A static program needs neither library nor supervisor."""
    serves(between, static_server, "given", "{fd}")
    serves(between, static_server, "given", "{fd}", option="--inetd")


@pytest.mark.program("server.c, setuid")
def test_setuid(between, static_server):
    """A setuid program is given its socket like any other."""
    program = support.scratch_dir() / "setuid"
    shutil.copyfile(static_server, program)
    program.chmod(0o4755)
    argv = [PYBIND, "--listen", "--port", "80", "--", *between, program, "given", "{fd}"]
    with support.server(argv, ready=support.answers_http):
        assert support.http_get() == (ANSWER if between else b"uid 0")


def test_user(between, static_server):
    """Root's script: the sockets are opened as the user, who serves."""
    argv = [PYBIND, "--user", "nobody", "--listen", "--port", "80", "--", *between]
    with support.server([*argv, static_server, "given", "{fd}"], uid=0, gid=0,
                        ready=support.answers_http) as process:  # fmt: skip
        assert support.http_get("::1") == ANSWER
        status = supervising.status_of(process.pid)
    assert status["Uid"].split() == [str(UID)] * 4
    assert status["Gid"].split() == [str(GID)] * 4
    assert int(status["CapPrm"], 16) == 0


EARLY = """
import socket, sys
listening = socket.socket(fileno=int(sys.argv[1]))
client = socket.create_connection(("::1", 80))
client.send(b"x")
sock, _ = listening.accept()
print(sock.recv(1), listening.getblocking())
"""


def test_connected_before_accept(between):
    """Who connects before the program accepts is served when it does."""
    argv = [PYBIND, "--listen", "-p", "80", *between, "/usr/bin/python3", "-c", EARLY, "{fd}"]
    assert support.run(argv).stdout == "b'x' True\n"


def test_connection_waits_while_the_program_starts(between):
    """The port is open while nothing of the program has run yet."""
    gate = support.scratch_dir() / "gate"
    script = 'while [ ! -e "$1" ]; do sleep 0.01; done; exec /usr/bin/python3 -c "$2" "$3"'
    code = ("import socket, sys; s, _ = socket.socket(fileno=int(sys.argv[1])).accept();"
            "s.send(b'late'); s.close()")  # fmt: skip
    argv = [PYBIND, "--listen", "-p", "80", *between, "sh", "-c", script, "sh", gate, code, "{fd}"]
    process = support.as_user(argv)
    clients = []

    def connected():
        try:
            clients.append(socket.create_connection(("127.0.0.1", 80), support.PATIENCE_S))
        except ConnectionRefusedError:
            return False
        return True

    with process:
        support.wait_for(connected, "the socket to listen")
        assert not gate.exists()
        gate.touch()
        with clients[0] as client:
            assert client.recv(10) == b"late"
    assert process.returncode == 0
