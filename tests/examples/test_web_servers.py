# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/gunicorn, nginx, pm2 and tomcat, each with the real program.

Tomcat also runs under scripts that were written for authbind.
"""

import json
import os
import pathlib
import shutil
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


TOMCAT = pathlib.Path("/usr/share/tomcat10")
SERVER_XML = """<Server port="8005" shutdown="SHUTDOWN"><Service name="Catalina">
<Connector port="80" protocol="HTTP/1.1"/>
<Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine>
</Service></Server>"""
LAST_LINE = 'exec "$PRGDIR"/"$EXECUTABLE" start "$@"'
# The line that recipes for authbind put in its place.
WITH_AUTHBIND = 'exec authbind --deep "$PRGDIR"/"$EXECUTABLE" start "$@"'
OURS, REAL = support.PREFIX + "/bin/authbind", "/usr/bin/authbind"
STARTED = "Server startup in"


@pytest.fixture(scope="module")
def compat_command():
    """Install pybind's authbind command."""
    make = ["make", "-s", "-C", str(support.REPOSITORY), "install-authbind-compat"]
    subprocess.run(make, check=True)


@pytest.fixture
def home(granted):
    """Return a CATALINA_HOME of app's: Debian's files, and a connector on port 80."""
    assert (TOMCAT / "bin/catalina.sh").exists(), "apt-get install tomcat10-common"
    path = placing.SRV / "tomcat"
    shutil.copytree(TOMCAT / "bin", path / "bin")
    os.symlink(TOMCAT / "lib", path / "lib")
    for name in ("conf", "logs", "temp", "webapps", "work"):
        (path / name).mkdir()
    (path / "conf/server.xml").write_text(SERVER_XML)
    subprocess.run(["chown", "-R", "app:app", path], check=True)
    yield path
    placing.end_all()
    shutil.rmtree(path)


def environ(home, first="/usr/local/bin"):
    return {"PATH": f"{first}:/usr/bin:/bin", "CATALINA_HOME": str(home),
            "CATALINA_PID": str(home / "temp/pid"), "JRE_HOME": "/usr",
            "CATALINA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}  # fmt: skip


def test_tomcat(home):
    """tomcat-pybind starts and stops an unchanged catalina.sh, with Java as app on port 80."""
    script = placing.install("tomcat/tomcat-pybind", home / "bin/tomcat-pybind")
    done = placing.as_app([script, "start"], env=environ(home))
    assert done.returncode == 0, done
    placing.answers(b"")  # any answer: Tomcat has no application and says so
    pid = int((home / "temp/pid").read_text())
    assert placing.ids(pid) == (placing.app().pw_uid, 0)
    assert placing.as_app([script, "stop"], env=environ(home)).returncode == 0
    support.wait_for(lambda: placing.gone(pid), "Tomcat to stop")


def test_tomcat_without_a_home(host):
    """Without CATALINA_HOME the example says what is not set."""
    # A copy, because the clone may lie in a folder that app cannot search.
    script = placing.install("tomcat/tomcat-pybind", support.scratch_dir() / "tomcat-pybind")
    done = placing.as_app([script], env={"PATH": "/usr/bin"})
    assert done.returncode == 2
    assert "CATALINA_HOME: is not set" in done.stderr


@pytest.mark.parametrize("command", [OURS, REAL])
def test_startup_script_written_for_authbind(compat_command, home, command):
    """The recipes' line in startup.sh works with pybind's authbind and with Debian's."""
    script = home / "bin/startup.sh"
    assert LAST_LINE in script.read_text()
    script.write_text(script.read_text().replace(LAST_LINE, WITH_AUTHBIND))
    their_file = pathlib.Path("/etc/authbind/byport/80")
    their_file.parent.mkdir(parents=True, exist_ok=True)
    their_file.touch(0o500)
    os.chown(their_file, placing.app().pw_uid, 0)
    done = placing.as_app([script], env=environ(home, os.path.dirname(command)))
    assert done.returncode == 0, done
    placing.answers(b"")  # any answer: Tomcat has no application and says so
    shutil.rmtree("/etc/authbind")
    loaded = pathlib.Path(f"/proc/{int((home / 'temp/pid').read_text())}/maps").read_text()
    assert (support.LIBRARY in loaded) == (command == OURS)
    assert ("libauthbind" in loaded) == (command == REAL)


@pytest.mark.parametrize(("depth", "served"), [("1", False), ("2", True)])
def test_depth(compat_command, home, depth, served):
    """catalina.sh run executes Java: the script is the first program, Java the second."""
    run = ["authbind", "--depth", depth, home / "bin/catalina.sh", "run"]
    entry = placing.app()
    with support.server(run, uid=entry.pw_uid, gid=entry.pw_gid, env=environ(home)) as process:
        support.wait_for(lambda: STARTED in process.log.read_text(), "Tomcat to start")
        text = process.log.read_text()
        assert ("java.net.BindException: Permission denied" in text) != served, text
        assert support.answers_http() == served


def test_exit_statuses(compat_command, home):
    """The exit status is the script's, or 255 in the cases in which authbind's is 255."""
    catalina = home / "bin/catalina.sh"
    for words, expected in (([catalina, "configtest"], 0), ([catalina, "wrong"], 1),
                            ([home / "bin/missing.sh"], 255), (["--depth", "0", catalina], 255)):  # fmt: skip
        done = placing.as_app(["authbind", *words], env=environ(home))
        assert done.returncode == expected, done
