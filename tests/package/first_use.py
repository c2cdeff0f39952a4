# SPDX-License-Identifier: GPL-3.0-or-later
"""The first commands of the README: root grants, an ordinary user serves.

Needs the installed package and a free port 80 (debian/tests/control). lifecycle.py
serves by the same functions. A fresh system has only the standard library.
"""

import contextlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

ALICE = "1000"
PATIENCE_S = 60  # how long a test waits before a condition counts as missed


def wait_for(condition, what):
    """Wait until condition() is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.02)


def run(*argv, status=0):
    """Run argv, which must exit with `status`; return its output."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == status, f"{argv} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def as_alice(argv, **options):
    """Start argv as uid 1000, with an exec between: setpriv(1) keeps root's permitted set."""
    drop = ["setpriv", "--reuid", ALICE, "--regid", ALICE, "--clear-groups", "--inh-caps=-all"]
    return subprocess.Popen([*drop, "env", *argv], cwd="/", stdin=subprocess.DEVNULL, **options)


def as_alice_fails(*argv):
    """Run argv as uid 1000, which must exit with 125; return its output."""
    process = as_alice(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 125, said
    return said


def fetch(port):
    """Return the page that is served on a port, or None if there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S) as answer:
            return answer.read()
    except (OSError, urllib.error.URLError):
        return None


@contextlib.contextmanager
def serving(port, *options):
    """Let uid 1000 serve a page on `port`, by a program that knows nothing of pybind."""
    program = ["python3", "-m", "http.server", "--directory", "/etc/pybind", str(port)]
    argv = ["pybind", *options, "--port", str(port), "--", *program]
    server = as_alice(argv, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: server.poll() is not None or fetch(port), f"port {port}")
        assert server.poll() is None, f"pybind ended with {server.returncode}"
        yield
        assert server.poll() is None, f"the server ended with {server.returncode}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def first_use():
    """pybind refuses without a grant, serves with one in both modes, and refuses afterwards."""
    run("pybindctl", "doctor")
    said = as_alice_fails("pybind", "--port", "80", "--", "true")
    assert ": sudo pybindctl grant " in said, said
    run("pybindctl", "grant", ALICE, "80")
    for mode in ("preload", "supervise"):
        with serving(80, "--mode", mode):
            print(f"  ok: uid {ALICE} serves port 80 ({mode})", flush=True)
    run("pybindctl", "revoke", ALICE, "80")
    as_alice_fails("pybind", "--port", "80", "--", "true")
    subprocess.run(["pybind", "--version"], check=True)


if __name__ == "__main__":
    first_use()
