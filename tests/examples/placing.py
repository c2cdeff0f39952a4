# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of examples/ share: the folder, its user `app`, installing, processes."""

import contextlib
import os
import pathlib
import pwd
import signal
import socket
import subprocess

import support
from launching import need

EXAMPLES = support.REPOSITORY / "examples"
SRV = pathlib.Path("/srv/app")  # the folder that the examples name
JAR = SRV / "app.jar"
INIT_SYSTEMS = support.REPOSITORY / "build/init-systems"


def app():
    """Return the passwd(5) entry of the user that the examples name."""
    return pwd.getpwnam("app")


def init_systems():
    """Return the folder with OpenRC and runit, which are unpacked, not installed."""
    assert INIT_SYSTEMS.is_dir(), "make build/init-systems"
    return INIT_SYSTEMS


def install(name, path, *replace):
    """Copy examples/NAME to `path`, executable, with the pairs (old, new) replaced."""
    text = (EXAMPLES / name).read_text()
    for old, new in replace:
        assert old in text, old
        text = text.replace(old, new)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def as_app(argv, **options):
    """Run argv to its end as the user app, with no other right."""
    entry = app()
    options.setdefault("cwd", "/")
    return support.run(argv, uid=entry.pw_uid, gid=entry.pw_gid, **options)


def as_root(argv, **options):
    """Run argv to its end as root."""
    return subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, cwd="/", timeout=support.PATIENCE_S, **options)  # fmt: skip


def answers(body=b"java http", port=80):
    """Wait until the server answers there with `body`."""
    support.wait_for(lambda: support.answers_http(port=port), "an answer")
    assert body in support.http_get(port=port)


def executable(pid):
    """Return the path of the program that the process runs."""
    return os.readlink(f"/proc/{pid}/exe")


def ids(pid):
    """Return (real and effective uid, permitted capabilities) of a process."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status["Uid"].split()[1]), int(status["CapPrm"], 16)


def processes(program=None):
    """Return the processes of app: all, or those that run the file `program`."""
    # Only the end of the path: in a chroot's mount namespace the path is longer.
    wanted = os.path.realpath(program) if program else ""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended
            if entry.stat().st_uid == app().pw_uid and executable(entry.name).endswith(wanted):
                found.append(int(entry.name))
    return found


def java():
    """Return the processes of app that run Java."""
    return processes(need("java", "default-jre"))


def end_all():
    """Kill the processes of app that a test left."""
    for pid in processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    support.wait_for(free, "the port to be free")


def gone(pid):
    """Tell whether the process has ended with all its threads, which could hold the port."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


def free(port=80):
    """Tell whether nobody holds the port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections do not count
        try:
            sock.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
