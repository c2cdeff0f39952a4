# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/gunicorn, nginx and pm2, each with the real program."""

import json
import os
import signal
import subprocess

import placing
import pytest
import support

WSGI = 'def app(env, start):\n    start("200 OK", [])\n    return [b"wsgi"]\n'
APP_JS = """
require("http").createServer((request, response) => response.end("node " + process.pid))
  .listen(80, "0.0.0.0");
"""


@pytest.fixture
def folder(grant80):
    """Return a folder that the user can write to."""
    return support.scratch_dir()


@pytest.mark.parametrize("options", [["--port", "80"], ["--listen", "--port", "80/tcp"]])
def test_gunicorn(folder, options):
    """gunicorn binds by itself or takes a socket; its workers serve, and HUP reloads them."""
    gunicorn = placing.need("gunicorn", "gunicorn")
    placing.install("gunicorn/gunicorn.conf.py", folder / "gunicorn.conf.py")
    (folder / "app.py").write_text(WSGI)
    argv = [support.PYBIND, *options, "--", gunicorn, "-c", "gunicorn.conf.py", "app:app"]
    with support.server(argv, support.answers_http, cwd=folder) as process:
        placing.answers(b"wsgi")
        (folder / "app.py").write_text(WSGI.replace("wsgi", "new"))
        os.kill(process.pid, signal.SIGHUP)
        support.wait_for(lambda: support.http_get() == b"new", "the reload")


def test_nginx(folder):
    """nginx, started as the header says, serves, reloads with one more port, and stops."""
    nginx = placing.need("nginx", "nginx-light")
    support.flag("byport/443")
    config = placing.install("nginx/nginx.conf", folder / "nginx.conf")
    (folder / "html").mkdir()
    (folder / "html/index.html").write_text("nginx here")
    command = [nginx, "-p", ".", "-c", "nginx.conf", "-e", "error.log"]
    listed = [support.PYBIND, "--port", "80", "--port", "443", "--"]
    tested = support.run([*listed, *command, "-t"], cwd=folder)
    assert tested.returncode == 0, tested
    assert "alert" not in tested.stderr
    assert support.run([*listed, *command], cwd=folder).returncode == 0
    placing.answers(b"nginx here")
    master = int((folder / "nginx.pid").read_text())
    assert placing.ids(master) == (support.UID, 0)

    config.write_text(config.read_text().replace("listen 80;", "listen 80; listen 443;"))
    assert support.run([*command, "-s", "reload"], cwd=folder).returncode == 0
    placing.answers(b"nginx here", 443)
    assert support.run([*command, "-s", "stop"], cwd=folder).returncode == 0
    support.wait_for(lambda: placing.gone(master), "nginx to stop")


def test_pm2(folder):
    """The program runs with the arguments that pm2 builds from the file in fork mode."""
    node = placing.need("node", "nodejs")
    config = placing.install("pm2/ecosystem.config.js", folder / "ecosystem.config.js")
    printed = subprocess.run([node, "-e", f"console.log(JSON.stringify(require('{config}')))"],
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
    (app,) = json.loads(printed)["apps"]
    assert (app["exec_mode"], app["script"]) == ("fork", "/srv/app/app.js")
    (folder / "app.js").write_text(APP_JS)
    argv = [app["interpreter"], *app["interpreter_args"].split(), folder / "app.js"]
    with support.server(argv, support.answers_http) as process:
        assert support.http_get() == b"node %d" % process.pid  # pm2's child is the server
