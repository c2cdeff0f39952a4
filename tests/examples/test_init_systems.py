# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/sysv, openrc and runit with a real Java server, under the real init systems.

The script of sysv runs with start-stop-daemon, as root and as app. OpenRC and runit are
unpacked, not installed.
"""

import os
import pathlib
import signal
import socket
import subprocess

import placing
import pytest
import support
from placing import as_app, as_root, java

SCRIPT = pathlib.Path("/etc/init.d/app")
PIDFILE = pathlib.Path("/run/app/app.pid")
# A mount namespace in which OpenRC lies at its installed paths, as in a container. The
# process namespace stays that of the sandbox, which ends leftover processes.
OPENRC = r"""
for dir in sbin bin lib; do
    mount -t overlay -o "lowerdir=$1/usr/$dir:/usr/$dir" overlay "/usr/$dir"
done
cp "$1/etc/rc.conf" /etc/
mkdir -p /run/openrc /etc/runlevels/default
touch /run/openrc/softlevel /etc/insserv.conf
for dir in daemons exclusive starting started stopping inactive wasinactive failed hotplugged \
    scheduled options tmp; do
    mkdir -p "/run/openrc/$dir"
done
shift
exec "$@"
"""


@pytest.fixture
def openrc(granted):
    """Return a function that runs the example's script with one action."""
    script = placing.install("openrc/app", SCRIPT)
    (placing.SRV / "app.log").unlink(missing_ok=True)

    def run(action):
        return as_root(
            ["unshare", "--mount", "sh", "-c", OPENRC, "sh", placing.init_systems(), script, action]
        )

    yield run
    run("stop")
    script.unlink()
    placing.end_all()


def test_openrc(openrc):
    """Java serves as app on port 80 through start, status, a crash, restart and stop."""
    started = openrc("start")
    assert started.returncode == 0, started
    placing.answers()
    (first,) = java()
    assert placing.ids(first) == (placing.app().pw_uid, 0)
    assert openrc("status").returncode == 0

    os.kill(first, signal.SIGKILL)
    support.wait_for(lambda: java() not in ([], [first]), "supervise-daemon to start it again")
    placing.answers()

    second = java()
    assert openrc("restart").returncode == 0
    placing.answers()
    assert java() != second

    assert openrc("stop").returncode == 0
    assert java() == []
    assert placing.free()
    assert openrc("status").returncode == 3


def test_openrc_refused(openrc):
    """Without the grant start fails and prints what repairs it."""
    support.clear_config()
    done = openrc("start")
    assert done.returncode == 1
    assert " may not bind port 80/tcp" in done.stdout + done.stderr
    assert ": sudo pybindctl grant " in done.stdout + done.stderr
    assert openrc("status").returncode == 3


@pytest.fixture
def runit(granted):
    """Start runsv on the example as its header says; return a function that calls sv."""
    programs = placing.init_systems() / "usr/bin"
    service = support.scratch_dir() / "app"
    placing.install("runit/app/run", service / "run")
    log = (service / "log.txt").open("w+b")
    env = {"PATH": f"{programs}:/usr/bin:/bin"}
    runsv = subprocess.Popen(["runsv", service], env=env, stdout=log, stderr=log)

    def run(action):
        return as_root(["sv", action, service], env=env)

    with log, runsv:
        support.wait_for((service / "supervise/ok").exists, "runsv")
        yield run, service
        run("force-stop")
        runsv.terminate()
        runsv.wait()
        placing.end_all()


def test_runit(runit):
    """runsv's own process is the server, through up, a crash, restart and down."""
    run, service = runit
    placing.answers()
    (first,) = java()
    assert int((service / "supervise/pid").read_text()) == first
    assert placing.ids(first) == (placing.app().pw_uid, 0)
    assert f"run: {service}: (pid {first})" in run("status").stdout

    os.kill(first, signal.SIGKILL)
    support.wait_for(lambda: java() not in ([], [first]), "runsv to start it again")
    placing.answers()
    second = java()
    assert run("restart").returncode == 0
    support.wait_for(lambda: java() not in ([], second), "the restart")
    placing.answers()
    assert run("stop").returncode == 0
    assert java() == []
    assert placing.free()


def test_runit_refused(runit):
    """A refusal is in the log of runsv, and `once` tries only once."""
    run, service = runit
    placing.answers()
    assert run("stop").returncode == 0
    support.clear_config()
    run("once")
    support.wait_for(lambda: " may not bind port 80/tcp" in (service / "log.txt").read_text(), "it")
    support.wait_for(lambda: run("status").stdout.startswith("down"), "runsv to give up")


@pytest.fixture
def sysv(granted):
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


def test_root_starts_it_at_boot(sysv):
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


def test_the_delegated_user_restarts_it(sysv):
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


def test_nobody_else(sysv):
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


def test_a_forged_pidfile_kills_nobody(sysv, victim):
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


def test_a_link_as_pidfile_overwrites_nothing(sysv):
    """If app makes its pidfile a link to a file of root's, root's start does not write it."""
    precious = pathlib.Path("/etc/precious")
    precious.write_text("precious")
    as_root([SCRIPT, "start"])
    as_root([SCRIPT, "stop"])
    assert as_app(["ln", "-s", precious, PIDFILE]).returncode == 0
    as_root([SCRIPT, "start"])
    as_root([SCRIPT, "stop"])
    assert precious.read_text() == "precious"


def test_a_refusal_is_printed(sysv):
    """Without the grant start fails, names the repair, and leaves nothing behind."""
    support.clear_config()
    done = as_root([SCRIPT, "start"])
    assert done.returncode == 1
    assert " may not bind port 80/tcp: nothing in /etc/pybind grants it" in done.stderr
    assert ": sudo pybindctl grant " in done.stderr
    assert as_root([SCRIPT, "status"]).returncode == 3


def test_a_busy_port_is_in_the_log(sysv):
    """A busy port makes start fail too, and the reason is in the log."""
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 80))
        holder.listen()
        done = as_root([SCRIPT, "start"])
    assert done.returncode == 1
    assert "app did not start, see /srv/app/app.log" in done.stderr
    assert "port 80/tcp is held by root" in (placing.SRV / "app.log").read_text()


def test_a_supervised_program(sysv):
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


def test_wrong_use(sysv):
    """A missing or unknown action gets the usage and status 2."""
    for words in ([], ["reload-it"]):
        done = as_app([SCRIPT, *words])
        assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")
