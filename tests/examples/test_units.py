# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the systemd units, run without systemd.

test_systemd.py runs the units themselves, for which it needs control groups. Here
setpriv does what systemd would do to the process of a service.
"""

import contextlib
import pathlib
import re
import shlex
import subprocess

import placing
import pytest
import support

WSGI = 'def app(env, start):\n    start("200 OK", [])\n    return [b"wsgi"]\n'


@pytest.fixture
def wsgi(host):
    """Put an application for gunicorn where the units have it."""
    placing.need("gunicorn", "gunicorn")
    (placing.SRV / "app.py").write_text(WSGI)
    (placing.SRV / "app").mkdir(exist_ok=True)  # %h/app of the user's units
    (placing.SRV / "app/app.py").write_text(WSGI)
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


def test_plain(granted):
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


def test_plain_refused(host):
    """Without the grant the status is one that the unit's RestartPreventExitStatus= has."""
    with service(exec_start("app.service")) as process:
        assert process.wait(support.PATIENCE_S) == 125
    for name in ("app.service", "user/app.service", "user/app-sandboxed.service"):
        unit = (placing.EXAMPLES / "systemd" / name).read_text()
        assert "\nRestartPreventExitStatus=125 126 127\n" in unit


def test_user(granted, wsgi):
    """user/app.service serves for a delegated user."""
    with service(exec_start("user/app.service")) as process:
        placing.answers()
        assert placing.ids(process.pid) == (placing.app().pw_uid, 0)


def test_user_sandboxed(granted, wsgi):
    """user/app-sandboxed.service serves, with pybind outside of no_new_privs."""
    with service(exec_start("user/app-sandboxed.service")) as process:
        placing.answers(b"wsgi")
        assert status_of(process.pid, "NoNewPrivs") == "1"


def test_hardened(wsgi):
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
