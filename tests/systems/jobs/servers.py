# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that know nothing of pybind, started by alice in a login."""

import pathlib

import pytest
import short
import world

APP = pathlib.Path("/srv/app")
JAVA = """
import com.sun.net.httpserver.*;
import java.net.*;
public class Hello {
    public static void main(String[] a) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(80), 0);
        server.createContext("/", exchange -> {
            byte[] page = "from java".getBytes();
            exchange.sendResponseHeaders(200, page.length);
            exchange.getResponseBody().write(page);
            exchange.close();
        });
        server.start();
    }
}
"""
SOURCES = {
    "Hello.java": JAVA,
    "hello.js": "require('http').createServer((q, r) => r.end('from node')).listen(80)\n",
    "app.py": "def app(environment, start):\n    start('200 OK', [])\n    return [b'from wsgi']\n",
    "api.py": (
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'from asgi'})\n"
    ),
    "nginx.conf": short.NGINX.replace("listen 80;", "listen 80; listen [::]:80;"),
}
# Words in the table -> (page, command line with pybind).
SERVERS = {
    "Python's web server": (world.PAGE, "pybind --port 80 -- " + world.PYTHON),
    "Python's web server, no --port": (world.PAGE, "pybind -- " + world.PYTHON),
    "Python's web server on ::": (world.PAGE, f"pybind --port 80 -- {world.PYTHON} --bind ::"),
    "Java": ("from java", "pybind --port 80 -- java -cp /srv/app Hello"),
    "nginx": (world.PAGE, "pybind --port 80 -- /usr/sbin/nginx -c /srv/app/nginx.conf"),
    "node": ("from node", "pybind --port 80 -- node /srv/app/hello.js"),
    "gunicorn": ("from wsgi", "pybind --port 80 -- gunicorn --chdir /srv/app -w 2 -b 0.0.0.0:80 app:app"),
    "gunicorn, --listen": ("from wsgi", "pybind --listen --port 80 -- gunicorn --chdir /srv/app app:app"),
    "uvicorn, --listen, no_new_privs": (
        "from asgi",
        "pybind --listen --port 80 -- setpriv --no-new-privs uvicorn --app-dir /srv/app --fd {fd} api:app",
    ),
    "Caddy (Go)": (world.PAGE, "pybind --port 80 -- caddy file-server --listen :80 --root /srv/www"),
    "busybox httpd (static)": (world.PAGE, "pybind --port 80 -- " + world.BUSYBOX),
    "socat": (world.PAGE, "pybind --port 80 -- socat TCP-LISTEN:80,fork,reuseaddr SYSTEM:'" + (
        "echo HTTP/1.0 200 OK; echo; cat /srv/www/index.html'")),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def sources():
    """Write the programs, and compile those that need it."""
    APP.mkdir(exist_ok=True)
    for name, text in SOURCES.items():
        (APP / name).write_text(text)
    world.run("javac", APP / "Hello.java", timeout=300)


@pytest.mark.parametrize(("page", "command"), SERVERS.values(), ids=SERVERS)
def test_server(page, command):
    """{}."""
    url = "http://[::1]/" if command.endswith("::") else None
    world.serves(world.as_alice(command), page, url=url)


def test_both_protocols():
    """A datagram socket on 53/udp, IPv4 and IPv6."""
    world.datagram()
    code = "import socket; s = socket.socket(10, 2); s.bind(('::1', 53)); print(s.getsockname()[1])"
    assert world.login("alice", f'pybind --port 53/udp -- python3 -c "{code}"') == "53\n"


def test_mptcp():
    """An MPTCP socket."""
    code = "import socket; s = socket.socket(2, 1, 262); s.bind(('127.0.0.1', 443)); s.listen(); print(1)"
    assert world.login("alice", f'pybind --port 443/tcp -- python3 -c "{code}"') == "1\n"


def test_another_user():
    """Another user is refused what alice may."""
    world.refused("pybind --port 80 -- true", "pybindctl grant bob 80", user="bob")
