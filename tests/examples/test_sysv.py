# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/sysv with a real Java server and start-stop-daemon, as root and as app."""

import os
import pathlib
import socket
import subprocess

import placing
import pytest
import support
from placing import as_app, as_root

SCRIPT = pathlib.Path("/etc/init.d/app")
PIDFILE = pathlib.Path("/run/app/app.pid")


@pytest.fixture(autouse=True)
def installed(granted):
    """Install the script as its header says; afterwards stop the server."""
    placing.need("start-stop-daemon", "dpkg")
    placing.install("sysv/app", SCRIPT)
    (placing.SRV / "app.log").unlink(missing_ok=True)
    yield
    as_root([SCRIPT, "stop"])
    PIDFILE.unlink(missing_ok=True)
    placing.end_all()


def pid():
    return int(PIDFILE.read_text())


def test_root_starts_it_at_boot():
    """Started by root, Java serves as app on port 80; status, restart and stop work."""
    assert as_root([SCRIPT, "status"]).returncode == 3
    assert as_root([SCRIPT, "start"]).returncode == 0
    first = pid()
    placing.answers()
    assert placing.executable(first) == os.path.realpath(placing.need("java", "default-jre"))
    assert placing.ids(first) == (placing.app().pw_uid, 0)
    status = as_root([SCRIPT, "status"])
    assert (status.returncode, status.stdout) == (0, f"app is running, process {first}\n")
    again = as_root([SCRIPT, "start"])
    assert (again.returncode, again.stdout, pid()) == (0, "app is running already\n", first)

    assert as_root([SCRIPT, "restart"]).returncode == 0
    assert placing.gone(first)
    assert pid() != first
    placing.answers()

    last = pid()
    assert as_root([SCRIPT, "stop"]).returncode == 0
    assert placing.gone(last)
    assert not PIDFILE.exists()
    assert placing.free()
    assert as_root([SCRIPT, "status"]).returncode == 3
    assert as_root([SCRIPT, "stop"]).returncode == 0


def test_the_delegated_user_restarts_it():
    """After a start by root, app can restart, stop and start the server with its own rights."""
    assert as_root([SCRIPT, "start"]).returncode == 0
    placing.answers()
    first = pid()
    done = as_app([SCRIPT, "restart"])
    assert done.returncode == 0, done
    assert placing.gone(first)
    assert placing.ids(pid()) == (placing.app().pw_uid, 0)
    placing.answers()
    assert as_app([SCRIPT, "status"]).returncode == 0
    assert as_root([SCRIPT, "status"]).returncode == 0  # root's script finds the process too
    assert as_app([SCRIPT, "stop"]).returncode == 0
    assert as_app([SCRIPT, "status"]).returncode == 3
    assert as_app([SCRIPT, "start"]).returncode == 0
    placing.answers()
    assert as_root([SCRIPT, "stop"]).returncode == 0
    assert placing.free()


def test_nobody_else(host):
    """Any other user is refused and changes nothing."""
    assert as_root([SCRIPT, "start"]).returncode == 0
    for action in ("stop", "restart", "status"):
        done = support.run([SCRIPT, action])
        assert (done.returncode, done.stderr) == (4, "app: only app and root may do this\n")
    assert as_root([SCRIPT, "status"]).returncode == 0


@pytest.fixture
def victim():
    """Run a process of root's, which the attack below tries to kill."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_a_forged_pidfile_kills_nobody(victim):
    """app writes the PID of root's process into its pidfile, and root's stop does not kill it.

    Control: start-stop-daemon with root's rights kills the process, which is why the
    script gives up these rights first.
    """
    assert as_root([SCRIPT, "start"]).returncode == 0
    assert as_root([SCRIPT, "stop"]).returncode == 0
    assert as_app(["sh", "-c", f"echo {victim.pid} >{PIDFILE}"]).returncode == 0
    assert as_root([SCRIPT, "stop"]).returncode == 0
    assert victim.poll() is None
    assert as_app(["sh", "-c", f"echo {victim.pid} >{PIDFILE}"]).returncode == 0
    naive = ["start-stop-daemon", "--stop", "--pidfile", PIDFILE, "--exec", "/bin/sleep"]
    assert as_root(naive).returncode == 0
    support.wait_for(lambda: victim.poll() is not None, "the naive way to kill it")


def test_a_link_as_pidfile_overwrites_nothing(host):
    """If app makes its pidfile a link to a file of root's, root's start does not write it."""
    precious = pathlib.Path("/etc/precious")
    precious.write_text("precious")
    as_root([SCRIPT, "start"])
    as_root([SCRIPT, "stop"])
    assert as_app(["ln", "-s", precious, PIDFILE]).returncode == 0
    as_root([SCRIPT, "start"])
    as_root([SCRIPT, "stop"])
    assert precious.read_text() == "precious"


def test_a_refusal_is_printed():
    """Without the grant start fails, names the repair, and leaves nothing behind."""
    support.clear_config()
    done = as_root([SCRIPT, "start"])
    assert done.returncode == 1
    assert " may not bind port 80/tcp: nothing in /etc/pybind grants it" in done.stderr
    assert ": sudo pybindctl grant " in done.stderr
    assert as_root([SCRIPT, "status"]).returncode == 3


def test_a_busy_port_is_in_the_log():
    """A busy port makes start fail too, and the reason is in the log."""
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 80))
        holder.listen()
        done = as_root([SCRIPT, "start"])
    assert done.returncode == 1
    assert "app did not start, see /srv/app/app.log" in done.stderr
    assert "port 80/tcp is held by root" in (placing.SRV / "app.log").read_text()


def test_a_supervised_program():
    """The pidfile also finds and stops the front of a supervised static program."""
    busybox = placing.need("busybox", "busybox-static")
    placing.install("sysv/app", SCRIPT, ("DAEMON=/usr/bin/java", f"DAEMON={busybox}"),
                    ("-jar /srv/app/app.jar", "httpd -f -p 80 -h /srv/app"))  # fmt: skip
    (placing.SRV / "index.html").write_text("static")
    assert as_root([SCRIPT, "start"]).returncode == 0
    placing.answers(b"static")
    assert "python" in placing.executable(pid())
    assert as_app([SCRIPT, "status"]).returncode == 0
    assert as_app([SCRIPT, "restart"]).returncode == 0
    placing.answers(b"static")
    assert as_root([SCRIPT, "stop"]).returncode == 0
    assert placing.free()


def test_wrong_use(host):
    """A missing or unknown action gets the usage and status 2."""
    for words in ([], ["reload-it"]):
        done = as_app([SCRIPT, *words])
        assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")
