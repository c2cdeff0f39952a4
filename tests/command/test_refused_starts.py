# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals that no permission file causes: by the helper, the process or the program."""

import os
import pathlib
import shutil
import subprocess

import printed
import pytest
import support
from refusing import refused, repair
from support import GID, HELPER, OTHER_UID, UID, pybind

DROP = ["/usr/bin/setpriv", "--reuid", str(UID), "--regid", str(GID), "--clear-groups"]


@pytest.mark.hostile("R3")
def test_helper_missing(grant80, marked):
    """A missing helper is named, with the command that installs it."""
    path, started = marked
    moved = pathlib.Path(HELPER).rename(HELPER + ".aside")
    try:
        for arguments in (["--port", "80", path], [path]):
            message = refused(pybind(*arguments), HELPER, "No such file")
        assert not started()
        repair(message, "diagnose.cannot_start: sudo {REINSTALL}")
        assert pybind("--port", "80", path).returncode == 0
    finally:
        moved.rename(HELPER)


@pytest.mark.hostile("R3")
def test_helper_lost_its_capability(grant80, marked):
    """A copied helper has lost its capability; the proposed setcap gives it back."""
    path, started = marked
    subprocess.run(["setcap", "-r", HELPER], check=True)
    try:
        message = refused(pybind("--port", "80", path), "lost its file capability")
        refused(pybind(path), "lost its file capability")
        assert not started()
        repair(message, "diagnose._about_the_file: sudo pybindctl setup")
        assert pybind("--port", "80", path).returncode == 0
    finally:
        subprocess.run(["setcap", "cap_net_bind_service=p", HELPER], check=True)


@pytest.mark.hostile("R3")
def test_helper_that_somebody_could_have_replaced(grant80):
    """No message proposes setcap for a file that somebody but root could have written."""
    os.chown(HELPER, UID, 0)
    try:
        message = refused(
            pybind("-p", "80", "true"), f"owner {UID}", "could have replaced the helper"
        )
        assert "setcap" not in message
        repair(message, "diagnose._about_the_file: sudo {REINSTALL}")
        assert pybind("-p", "80", "true").returncode == 0
    finally:
        os.chown(HELPER, 0, 0)
        subprocess.run(["setcap", "cap_net_bind_service=p", HELPER], check=True)


def test_helper_that_may_not_be_executed(grant80):
    """For a noexec mount, a mode or a process limit no message proposes to install again."""
    folder = pathlib.Path(HELPER).parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,noexec", folder], check=True)
        message = refused(pybind("-p", "80", "true"), "Permission denied", "mounted noexec")
        assert "install" not in message
        repair(message, "diagnose.cannot_start: sudo {remount}")
        assert pybind("-p", "80", "true").returncode == 0
    finally:
        subprocess.run(["umount", folder], check=True)
    os.chmod(HELPER, 0o700)
    try:
        message = refused(pybind("-p", "80", "true"), "Permission denied", "its mode")
        repair(message, "diagnose.cannot_start: sudo pybindctl setup")
        assert pybind("-p", "80", "true").returncode == 0
    finally:
        os.chmod(HELPER, 0o755)
    done = support.run(["/usr/bin/prlimit", "--nproc=1:1", support.PYBIND, "-p", "80", "true"])
    message = refused(done, "Resource temporarily unavailable")
    assert "install" not in message
    asked = printed.said(message, "diagnose.cannot_start: ulimit -u")
    shown = support.run(["/usr/bin/prlimit", "--nproc=1:1", "/bin/bash", "-c", asked])
    assert shown.stdout == "1\n"


@pytest.mark.hostile(7)
def test_nosuid_mount(grant80, marked):
    """A nosuid mount below the helper is named, with the repair."""
    path, started = marked
    folder = pathlib.Path(HELPER).parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,nosuid", folder], check=True)
        message = refused(pybind("--port", "80", path), "mounted nosuid", f"({folder})")
        assert not started()
        repair(message, "diagnose._about_the_file: sudo {remount}")
        assert pybind("--port", "80", path).returncode == 0
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("wrapper", "words"),
    [
        ([*DROP, "--inh-caps=-all", "--no-new-privs"], "no_new_privs is set"),
        ([*DROP, "--inh-caps=-all", "--bounding-set=-net_bind_service"], "bounding set"),
    ],
)
@pytest.mark.hostile(5, 6)
def test_stripped_caller(grant80, marked, wrapper, words):
    """The message names no_new_privs or a reduced bounding set, with or without --port."""
    path, started = marked
    for arguments in (["--port", "80"], []):
        done = subprocess.run([*wrapper, "env", support.PYBIND, *arguments, path],
                              capture_output=True, text=True, cwd="/")  # fmt: skip
        refused(done, words)
    assert not started()


@pytest.mark.hostile(21)
def test_user_namespace(grant80, marked):
    """Root of a user namespace is told that they are not root of the host."""
    path, started = marked
    if support.run(["/usr/bin/unshare", "-U", "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    done = support.run(["/usr/bin/unshare", "-Ur", support.PYBIND, "--port", "80", path])
    refused(done, "in a user namespace")
    assert not started()


@pytest.mark.hostile(8)
def test_traced(grant80, marked):
    """The message names an ordinary user's strace -f; under root's strace pybind works."""
    path, started = marked
    strace = ["/usr/bin/strace", "-f", "-o", "/dev/null"]
    refused(support.run([*strace, support.PYBIND, "--port", "80", path]), "traces this one")
    assert not started()
    done = subprocess.run([*strace, "-u", "nobody", support.PYBIND, "--port", "80", path],
                          capture_output=True, text=True, cwd="/")  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("binary", "words"), [("/usr/bin/busybox", "statically linked"), ("/usr/bin/caddy", "Go")]
)
def test_static_program(grant80, binary, words):
    """--mode preload notes that the library cannot serve a program, and what can."""
    done = pybind("--mode", "preload", "--check", "--port", "80", binary)
    assert done.returncode == 0
    assert words in done.stderr
    option = printed.said(done.stderr, "cli._choose_way: --mode supervise")
    assert pybind(*option.split(), "--check", "--port", "80", binary).returncode == 0


def test_raised_privileges(grant80):
    """A setuid or setgid program is refused, because it ignores preload libraries."""
    folder = support.scratch_dir()
    shutil.copy("/bin/true", folder / "true")
    for owner, mode, words in ((OTHER_UID, 0o4755, "setuid"), (OTHER_UID, 0o2755, "setgid")):
        os.chown(folder / "true", owner, owner)
        (folder / "true").chmod(mode)
        for way in ([], ["--mode", "preload"], ["--mode", "supervise"]):
            message = refused(pybind(*way, "--port", "80", folder / "true"), words, "other rights")
            assert message.count(words) == 1
    (folder / "true").chmod(0o755)
    subprocess.run(["setcap", "cap_net_raw=ep", folder / "true"], check=True)
    refused(pybind("--port", "80", folder / "true"), "file capabilities")
    subprocess.run(["setcap", "cap_net_bind_service=ep", folder / "true"], check=True)
    assert pybind("--port", "80", folder / "true").returncode == 0


def test_another_system():
    """Another operating system gets one line and status 125."""
    code = (
        "import sys; sys.platform = 'darwin'; sys.path.insert(0, sys.argv[1]);"
        "from pybind.cli import main; sys.exit(main(['--port', '80', 'true'], 'ooodd:-1:-1:-1'))"
    )
    done = support.run(["/usr/bin/python3", "-c", code, support.PREFIX + "/share/pybind"])
    assert len(refused(done, "Linux only").splitlines()) == 1


def test_too_few_descriptors(grant80, marked):
    """The message names a descriptor limit that leaves no room for the helper."""
    path, started = marked
    done = support.run(["/usr/bin/sh", "-c", 'ulimit -n 8; exec "$0" --port 80 "$1"',
                        support.PYBIND, path])  # fmt: skip
    refused(done, "ulimit -n", "8")
    assert not started()
    more = printed.said(done.stderr, "helper._no_descriptor: ulimit -n ...")
    script = f'ulimit -S -n 8; {more}; exec "$0" --port 80 "$1"'
    assert support.run(["/usr/bin/sh", "-c", script, support.PYBIND, path]).returncode == 0


@pytest.mark.parametrize("limit", [5, 6, 7])
def test_hardly_any_descriptor(grant80, limit):
    """A limit that does not even allow one socket gets the same repair."""
    done = support.run(["/usr/bin/sh", "-c", f'ulimit -n {limit}; exec "$0" --port 80 true',
                        support.PYBIND])  # fmt: skip
    refused(done, "allow more: ulimit -n")
