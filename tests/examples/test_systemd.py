# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/systemd under a real systemd: the units, with their sandbox and their restarts."""

import pathlib
import re
import shutil
import subprocess

import managers
import placing
import pytest
import support

SYSTEM = pathlib.Path("/etc/systemd/system")
PREFIX_UNITS = pathlib.Path(support.PREFIX) / "lib/systemd/system"
JAVA = "/usr/bin/java -jar /srv/app/app.jar"
GUNICORN = "/usr/bin/gunicorn -b 0.0.0.0:80 --chdir /srv/app app:app"
# The application answers with a field of its own /proc/self/status.
WSGI = """
def app(env, start):
    start("200 OK", [])
    return [open("/proc/self/status", "rb").read()]
"""


@pytest.fixture
def application(granted):
    """Put an application for gunicorn where the units have it; hide the host's units."""
    placing.need("systemctl", "systemd")
    placing.need("gunicorn", "gunicorn")
    shutil.rmtree(SYSTEM, ignore_errors=True)
    for name in ("app.py", "app/app.py"):
        (placing.SRV / name).parent.mkdir(exist_ok=True)
        (placing.SRV / name).write_text(WSGI)


def answer(name):
    """Wait for an answer; return the field `name` of the server's /proc/PID/status."""
    support.wait_for(support.answers_http, "an answer")
    return re.search(rf"^{name}:\s*(\S+)", support.http_get().decode(), re.M)[1]


def shown(systemctl, unit, name):
    return systemctl("show", "--property", name, "--value", unit).stdout.strip()


def serves_and_restarts(systemctl, unit):
    """Start the unit, kill its process, wait for the restart, and stop the unit."""
    done = systemctl("start", unit)
    assert done.returncode == 0, done
    assert answer("Uid") == str(placing.app().pw_uid)
    assert answer("CapPrm") == "0" * 16
    systemctl("kill", "--signal=KILL", unit)
    support.wait_for(lambda: int(shown(systemctl, unit, "NRestarts") or 0) >= 1, "the restart")
    assert answer("Uid") == str(placing.app().pw_uid)
    privileges = answer("NoNewPrivs")
    assert systemctl("stop", unit).returncode == 0
    assert placing.free()
    return privileges


def ends_with_125(systemctl, unit):
    """Start a unit that pybind refuses: it ends with 125 and is not tried again."""
    systemctl("start", unit)
    support.wait_for(lambda: shown(systemctl, unit, "ActiveState") == "failed", "the refusal")
    assert shown(systemctl, unit, "ExecMainStatus") == "125"
    assert shown(systemctl, unit, "NRestarts") == "0"


def test_plain(application):
    """app.service: serves in its sandbox, restarts, and a refusal is not tried again."""
    unit = placing.install("systemd/app.service", SYSTEM / "app.service", (JAVA, GUNICORN))
    with managers.system() as systemctl:
        assert serves_and_restarts(systemctl, "app") == "0"
        assert systemctl("start", "app").returncode == 0
        assert answer("CapBnd") == f"{1 << 10:016x}"  # the unit's sandbox is in force
        assert systemctl("stop", "app").returncode == 0

        text = unit.read_text()
        unit.write_text(text.replace("PrivateTmp=true", "NoNewPrivileges=true"))
        assert systemctl("daemon-reload").returncode == 0
        ends_with_125(systemctl, "app")

        unit.write_text(text)
        assert systemctl("daemon-reload").returncode == 0
        support.clear_config()
        ends_with_125(systemctl, "app")


def test_hardened(application):
    """app-hardened serves without a grant, sandboxed; its port is kept while it is down."""
    for name in ("app-hardened.socket", "app-hardened.service"):
        placing.install(f"systemd/{name}", SYSTEM / name)
    support.clear_config()
    with managers.system() as systemctl:
        assert systemctl("start", "app-hardened.socket").returncode == 0
        assert answer("NoNewPrivs") == "1"
        assert answer("CapBnd") == "0" * 16
        assert answer("Uid") not in ("0", str(placing.app().pw_uid))  # DynamicUser=
        systemctl("kill", "--signal=KILL", "app-hardened.service")
        assert not placing.free()
        assert answer("NoNewPrivs") == "1"
        systemctl("stop", "app-hardened.socket", "app-hardened.service")
        assert placing.free()


def test_user(application):
    """Both units of a delegated user, under that user's own systemd."""
    folder = placing.SRV / ".config/systemd/user"
    java = JAVA.replace("/srv/app", "%h/app")
    placing.install("systemd/user/app.service", folder / "app.service", (java, GUNICORN))
    placing.install("systemd/user/app-sandboxed.service", folder / "app-sandboxed.service")
    subprocess.run(["chown", "-R", "app:app", placing.SRV], check=True)
    with managers.user() as systemctl:
        assert serves_and_restarts(systemctl, "app") == "0"
        assert serves_and_restarts(systemctl, "app-sandboxed") == "1"
        support.clear_config()
        ends_with_125(systemctl, "app")
        ends_with_125(systemctl, "app-sandboxed")


def test_pybindd_that_cannot_run(granted):
    """pybindd.service: where it cannot run, systemd tries no second time, however slow the machine."""
    placing.need("systemctl", "systemd")
    shutil.rmtree(SYSTEM, ignore_errors=True)
    SYSTEM.mkdir(parents=True)
    unit = (PREFIX_UNITS / "pybindd.service").read_text()
    (SYSTEM / "pybindd.service").write_text(
        re.sub("(?m)^(ExecStart=.*)$", r"\1 --cgroup /nowhere", unit)
    )
    with managers.system() as systemctl:
        assert systemctl("start", "pybindd").returncode == 1
        support.wait_for(lambda: shown(systemctl, "pybindd", "ActiveState") == "failed", "the end")
        assert shown(systemctl, "pybindd", "ExecMainStatus") == "3"
        assert shown(systemctl, "pybindd", "NRestarts") == "0"
