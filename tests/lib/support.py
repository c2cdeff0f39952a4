# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests share: other users, permission files, processes, conditions.

Everything here runs as root inside tools/sandbox (private network and mount
namespaces, an installed pybind); programs under test run as UID.
"""

import contextlib
import http.client
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

UID = GID = 65534  # nobody, nogroup
OTHER_UID = 12345
PREFIX = os.environ.get("PREFIX", "/usr/local")
PYBIND = PREFIX + "/bin/pybind"
HELPER = PREFIX + "/libexec/pybind/pybind-helper"
LIBRARY = PREFIX + "/lib/pybind/libpybind.so"
CONFIG = pathlib.Path("/etc/pybind")
FOLDERS = ("byport", "byaddr", "byuser", "bygroup")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SCRATCH = pathlib.Path(os.environ["PYBIND_SANDBOX"])
# How long a test waits before a condition counts as missed: long, for a loaded machine.
PATIENCE_S = float(os.environ.get("PYBIND_PATIENCE") or 120)


# Lines that no rule file may have, and what a refusal says of each.
BROKEN_LINES = [
    ("any,8o", "not of the form"),
    ("10.0.0.1/8,80", "beyond its prefix"),
    ("any,80\r", "byte"),
    ("#" * 300, "longer than 255"),
    ("any,90-80", "minimum is above"),
]


def clear_config():
    """Leave the permission folders empty and as `make install` makes them."""
    if CONFIG.is_symlink() or CONFIG.is_file():
        CONFIG.unlink()
    shutil.rmtree(CONFIG, ignore_errors=True)
    for folder in (CONFIG, *(CONFIG / name for name in FOLDERS)):
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)


def flag(name, uid=0, gid=GID, mode=0o750):
    """Write a flag file, such as flag("byport/80"); by default UID's group may execute it."""
    path = CONFIG / name
    path.touch()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def rules(name, *lines, uid=0, gid=0, mode=0o644):
    """Write a rule file, such as rules("byuser/65534", "any,80")."""
    path = CONFIG / name
    path.write_text("".join(line + "\n" for line in lines))
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def scratch_dir():
    """Return a new folder that UID can read and write."""
    path = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
    path.chmod(0o777)
    return path


def as_user(argv, uid=UID, gid=GID, groups=(), **options):
    """Start argv as an ordinary user: drop root's rights first, then execute through env.

    setpriv sets the KEEPCAPS flag. Without the second exec the program would keep root's
    permitted set, and would be looked up with root's rights.
    """
    options.setdefault("cwd", "/")
    options.setdefault("stdin", subprocess.DEVNULL)
    group = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    drop = ["/usr/bin/setpriv", "--reuid", str(uid), "--regid", str(gid), *group, "--inh-caps=-all"]
    return subprocess.Popen([*drop, "/usr/bin/env", *map(str, argv)], **options)


def run(argv, **options):
    """Run argv as UID to its end; returns a CompletedProcess with text output."""
    timeout = options.pop("timeout", PATIENCE_S)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    options.setdefault("text", True)
    data = options.pop("input", None)
    if data is not None:
        options["stdin"] = subprocess.PIPE
    process = as_user(argv, **options)
    try:
        out, err = process.communicate(data, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def pybind(*args, **options):
    """Run `pybind ARGS...` as UID to its end."""
    return run([PYBIND, *args], **options)


def type_repair(message):
    """Type the first command that a message proposes, as an administrator on a terminal.

    Questions of the command are answered with yes. Returns what it prints.
    """
    command = re.search(r": (sudo .*)", message)[1]
    script = ["/usr/bin/script", "--quiet", "--return", "--command", command, "/dev/null"]
    done = subprocess.run(script, input="y\n", capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


@contextlib.contextmanager
def server(argv, ready=None, **options):
    """Start argv as UID in a session of its own; end it and its children afterwards.

    ready: a callable that returns true when the server answers; server() waits for it.
    """
    log = tempfile.NamedTemporaryFile(dir=SCRATCH, suffix=".log", delete=False)  # noqa: SIM115
    process = as_user(argv, stdout=log, stderr=log, start_new_session=True, **options)
    try:
        if ready:
            wait_for(lambda: process.poll() is not None or ready(), f"{argv} to answer")
            if process.poll() is not None:
                text = pathlib.Path(log.name).read_text(errors="replace")
                raise AssertionError(f"{argv} ended with {process.returncode}:\n{text}")
        process.log = pathlib.Path(log.name)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, what):
    """Wait until condition() is true; fail after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"gave up waiting for {what}")
        time.sleep(0.01)


def http_get(host="127.0.0.1", port=80, path="/", timeout=PATIENCE_S):
    """Return the body of one HTTP answer as bytes; raise OSError if there is no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read()


def answers_http(host="127.0.0.1", port=80):
    """Tell whether an HTTP server answers there now."""
    try:
        http_get(host, port, timeout=PATIENCE_S / 8)  # so that a caller can try again
    except (OSError, http.client.HTTPException):
        return False
    return True


def udp_echo(payload=b"ping", host="127.0.0.1", port=80):
    """Send one datagram; return the answer, or None if none comes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect((host, port))
        try:
            sock.send(payload)
            return sock.recv(65536)
        except OSError:
            return None


def compile_c(source, *flags, compiler="gcc", name="program"):
    """Compile C text into a folder that UID can read; returns the binary's path."""
    folder = scratch_dir()
    (folder / "program.c").write_text(source)
    binary = folder / name
    # gcc 14 (Debian 13) has these errors by default.
    strict = ["-Werror=implicit-function-declaration", "-Werror=int-conversion"]
    subprocess.run(
        [compiler, "-O1", *strict, "-o", binary, folder / "program.c", *flags], check=True
    )
    return binary


def allow_cores(pid=0):
    """Let a process (0: this one) dump core; sudo sets the limit to 0."""
    hard = resource.prlimit(pid, resource.RLIMIT_CORE)[1]
    try:
        resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
    except (PermissionError, ValueError):  # a container's root without CAP_SYS_RESOURCE
        if hard == 0:
            import pytest  # not at the top: the benchmarks run without pytest

            pytest.skip("core dumps are limited to nothing here, and root may not raise that")
        resource.prlimit(pid, resource.RLIMIT_CORE, (hard, hard))
