# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers, unmodified, started by nobody on port 80: each answers."""

import os
import pathlib
import signal
import socket

import launching
import pytest
import support
from launching import under_pybind

pytestmark = pytest.mark.usefixtures("grant80")

BOTH = ("127.0.0.1", "::1")
WSGI = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"gunicorn %d" % os.getpid()]
"""


def java(how):
    """Return the argv that runs src/Answer.java, compiled, under pybind."""
    return under_pybind(*launching.JAVA, "-cp", launching.java_classes(), "Answer", how)


def read_tcp(host, send=b""):
    """Connect to port 80 and return all that the server sends; empty if none answers."""
    try:
        with socket.create_connection((host, 80), timeout=support.PATIENCE_S) as sock:
            sock.sendall(send)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))
    except ConnectionError:
        return b""


def children(pid):
    """Return the PIDs of a process's children."""
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(word) for word in text.split()}


def expect_bodies(check):
    """Assert that check(body) holds for an HTTP answer over IPv4 and over IPv6."""
    for host in BOTH:
        body = support.http_get(host)
        assert check(body), body


@pytest.mark.program("Java HttpServer", "/usr/bin/java")
def test_java_http_server():
    """`java -jar app.jar` with the JDK's HttpServer answers over IPv4 and IPv6."""
    with support.server(under_pybind(*launching.java_jar()), ready=support.answers_http):
        expect_bodies(lambda body: body == b"java http")


@pytest.mark.program("Java HttpServer, from its source", "/usr/bin/java")
def test_java_source_file():
    """`java File.java`, compiled as it starts, answers too."""
    source = launching.copy_source("Answer.java", support.scratch_dir())
    argv = under_pybind(*launching.JAVA, source)
    with support.server(argv, ready=support.answers_http):
        expect_bodies(lambda body: body == b"java http")


@pytest.mark.program("Java ServerSocketChannel", "/usr/bin/java")
def test_java_nio_channel():
    """A non-blocking ServerSocketChannel answers, and finds the options that it set."""
    with support.server(java("nio"), ready=lambda: read_tcp("127.0.0.1")):
        for host in BOTH:
            before, after = read_tcp(host).decode().splitlines()
            assert after.split()[1:] == before.split()[1:]
            assert "reuseaddr=true reuseport=true" in after
            assert "blocking=false" in after


@pytest.mark.program("Java DatagramSocket", "/usr/bin/java")
def test_java_datagram_socket():
    """A DatagramSocket answers over IPv4 and IPv6, and finds its buffer size."""
    with support.server(java("datagram"), ready=support.udp_echo):
        for host in BOTH:
            assert support.udp_echo(b"ping", host) == b"ping true"


@pytest.mark.program("nginx", "nginx-light")
def test_nginx_reloads():
    """nginx with two workers serves both families, and after HUP what the new file says."""
    support.flag("byport/81")
    folder = support.scratch_dir()

    def fresh():
        return support.answers_http(port=81) and support.http_get("::1") == b"two"

    argv = under_pybind(*launching.nginx(folder, "one"), ports=("80", "81"))
    with support.server(argv, ready=support.answers_http) as process:
        expect_bodies(lambda body: body == b"one")
        support.wait_for(lambda: len(children(process.pid)) == 2, "two workers")
        old = children(process.pid)
        launching.nginx(folder, "two", more="listen 127.0.0.1:81;")
        os.kill(process.pid, signal.SIGHUP)
        support.wait_for(fresh, "the new configuration")
        support.wait_for(lambda: not old & children(process.pid), "the old workers to end")
        expect_bodies(lambda body: body == b"two")
        assert len(children(process.pid)) == 2
        log = (folder / "error.log").read_text()
    assert "unknown process" not in log
    assert "[emerg]" not in log


@pytest.mark.program("Python http.server", "python3")
@pytest.mark.parametrize("host", BOTH)
def test_python_http_server(host):
    """Python's http.server answers with the file that lies in its folder."""
    folder = support.scratch_dir()
    (folder / "hello").write_text("python")
    argv = under_pybind("/usr/bin/python3", "-m", "http.server", "80", "--bind", host)
    with support.server(argv, ready=lambda: support.answers_http(host), cwd=folder):
        assert support.http_get(host, path="/hello") == b"python"


@pytest.mark.program("gunicorn", "gunicorn")
def test_gunicorn_workers():
    """gunicorn's two workers answer on the socket that their parent bound."""
    launching.need("/usr/bin/gunicorn", "gunicorn")
    folder = support.scratch_dir()
    (folder / "wsgi.py").write_text(WSGI)
    options = ["--workers", "2", "--bind", "[::]:80", "--chdir", folder]
    argv = under_pybind("/usr/bin/gunicorn", *options, "wsgi:app")
    with support.server(argv, ready=support.answers_http, cwd=folder) as process:
        support.wait_for(lambda: len(children(process.pid)) == 2, "two workers")
        workers = {f"gunicorn {pid}".encode() for pid in children(process.pid)}
        expect_bodies(lambda body: body in workers)


@pytest.mark.program("Node.js cluster", "nodejs")
def test_node_cluster():
    """Both workers of a Node cluster answer, through the socket of the primary."""
    seen = set()
    argv = under_pybind(*launching.node_cluster())
    with support.server(argv, ready=support.answers_http) as process:
        support.wait_for(
            lambda: seen.add(support.http_get()) or len(seen) == 2, "both workers to answer"
        )
        assert seen == {f"node {pid}".encode() for pid in children(process.pid)}
        expect_bodies(lambda body: body in seen)
        assert "ended" not in process.log.read_text()


@pytest.mark.program("Boost.Asio acceptor", "libboost-dev")
def test_boost_asio_acceptor():
    """An acceptor that epoll knew before it was bound accepts one client after another."""
    assert pathlib.Path(
        "/usr/include/boost/asio.hpp"
    ).exists(), "Boost.Asio is missing: apt-get install libboost-dev"
    program = launching.build("asio.cpp", "-O0", "-g0", compiler="g++", package="g++")
    with support.server(under_pybind(program), ready=lambda: read_tcp("127.0.0.1")):
        answers = [read_tcp(host) for host in BOTH * 3]
        assert answers == [b"asio %d\n" % count for count in range(2, 8)]


@pytest.mark.program("socat TCP6", "socat")
def test_socat_tcp6():
    """socat TCP6-LISTEN serves several clients, of both families."""
    socat = launching.need("socat", "socat")
    argv = under_pybind(socat, "TCP6-LISTEN:80,reuseaddr,fork", "PIPE")
    with support.server(argv, ready=lambda: read_tcp("::1", b"x") == b"x"):
        for host in BOTH:
            assert read_tcp(host, b"through socat") == b"through socat"


@pytest.mark.program("socat UDP and UDP6", "socat")
@pytest.mark.parametrize(("address", "host"), [("UDP", BOTH[0]), ("UDP6", BOTH[1])])
def test_socat_udp(address, host):
    """socat on UDP sends datagrams back."""
    socat = launching.need("socat", "socat")
    argv = under_pybind(socat, f"{address}-RECVFROM:80,fork", "PIPE")
    with support.server(argv, ready=lambda: support.udp_echo(host=host)):
        assert support.udp_echo(b"through socat", host) == b"through socat"


@pytest.mark.program("binds.c, options")
def test_options_flags_and_epoll_survive_the_bind():
    """Options, descriptor flags and an epoll registration are those of before the bind."""
    result = launching.run_granted(launching.build("binds.c", "-ldl"), "options")
    assert result.stdout == "options kept\n"
