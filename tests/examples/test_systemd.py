# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/systemd under a real systemd: the units, with their sandbox and their restarts.

systemd needs control groups. The last tests run the commands of the units without systemd:
there setpriv does what systemd would do to the process of a service.
"""

import contextlib
import pathlib
import re
import shlex
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


ANSWERS = 'def app(env, start):\n    start("200 OK", [])\n    return [b"wsgi"]\n'


@pytest.fixture
def wsgi(host):
    """Put an application for gunicorn where the units have it."""
    placing.need("gunicorn", "gunicorn")
    (placing.SRV / "app.py").write_text(ANSWERS)
    (placing.SRV / "app").mkdir(exist_ok=True)  # %h/app of the user's units
    (placing.SRV / "app/app.py").write_text(ANSWERS)
    (placing.SRV / "app/app.jar").write_bytes(placing.JAR.read_bytes())


def exec_start(name):
    """Return the command of examples/systemd/NAME for the user app."""
    (line,) = re.findall(
        r"^ExecStart=(.*)$", (placing.EXAMPLES / "systemd" / name).read_text(), re.M
    )
    return shlex.split(line.replace("%h", str(placing.SRV)))


@contextlib.contextmanager
def service(argv, *more, around=()):
    """Start argv as app with SIGPIPE ignored; `more` are options of setpriv. End it afterwards."""
    entry = placing.app()
    drop = ["setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--init-groups",
            "--inh-caps=-all", *more, "/usr/bin/env", "--ignore-signal=PIPE"]  # fmt: skip
    process = subprocess.Popen(
        [*around, *drop, *argv], cwd="/", stdin=subprocess.DEVNULL, start_new_session=True,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(placing.SRV)},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(support.PATIENCE_S)


def status_of(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{name}:\s*(\S+)", text, re.M)[1]


def test_command_of_plain(granted):
    """app.service works with its own bounding set, and its main process is the server."""
    unit = (placing.EXAMPLES / "systemd/app.service").read_text()
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in unit
    with service(exec_start("app.service"), "--bounding-set=-all,+net_bind_service") as process:
        placing.answers()
        assert placing.ids(process.pid) == (placing.app().pw_uid, 0)
        assert status_of(process.pid, "CapBnd") == f"{1 << 10:016x}"
        process.terminate()
        assert process.wait(support.PATIENCE_S) == 143
    assert "SuccessExitStatus=143\n" in unit


def test_command_of_plain_refused(host):
    """Without the grant the status is one that the unit's RestartPreventExitStatus= has."""
    with service(exec_start("app.service")) as process:
        assert process.wait(support.PATIENCE_S) == 125
    for name in ("app.service", "user/app.service", "user/app-sandboxed.service"):
        unit = (placing.EXAMPLES / "systemd" / name).read_text()
        assert "\nRestartPreventExitStatus=125 126 127\n" in unit


def test_command_of_user(granted, wsgi):
    """user/app.service serves for a delegated user."""
    with service(exec_start("user/app.service")) as process:
        placing.answers()
        assert placing.ids(process.pid) == (placing.app().pw_uid, 0)


def test_command_of_user_sandboxed(granted, wsgi):
    """user/app-sandboxed.service serves, with pybind outside of no_new_privs."""
    with service(exec_start("user/app-sandboxed.service")) as process:
        placing.answers(b"wsgi")
        assert status_of(process.pid, "NoNewPrivs") == "1"


def test_command_of_hardened(wsgi):
    """app-hardened serves by socket activation, without privileges, grant or pybind."""
    activate = placing.need("systemd-socket-activate", "systemd")
    sandbox = ("--no-new-privs", "--bounding-set=-all")
    command = exec_start("app-hardened.service")
    around = (activate, "--listen=0.0.0.0:80", "--setenv=PATH=/usr/bin:/bin")
    with service(command, *sandbox, around=around) as process:
        placing.answers(b"wsgi")
        assert status_of(process.pid, "NoNewPrivs") == "1"
        assert placing.ids(process.pid) == (placing.app().pw_uid, 0)
    with service([support.PYBIND, "--port", "80", "true"], *sandbox) as process:
        assert process.wait(support.PATIENCE_S) == 125
