# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/openrc and examples/runit under the real OpenRC and runit (unpacked)."""

import os
import pathlib
import signal
import subprocess

import placing
import pytest
import support
from placing import java

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
    script = placing.install("openrc/app", pathlib.Path("/etc/init.d/app"))
    (placing.SRV / "app.log").unlink(missing_ok=True)

    def run(action):
        return placing.as_root(
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
        return placing.as_root(["sv", action, service], env=env)

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
