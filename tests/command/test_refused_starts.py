# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals that no permission file causes: by the helper, the process or the program."""

import errno
import os
import pathlib
import shutil
import subprocess

import launching
import printed
import pytest
import support
from refusing import as_root, refused, repair, told
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
        refused(as_root(*wrapper, "env", support.PYBIND, *arguments, path), words)
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
    done = as_root(*strace, "-u", "nobody", support.PYBIND, "--port", "80", path)
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


@pytest.mark.parametrize(
    ("error", "who", "look"),
    [
        (errno.EAFNOSUPPORT, "a filter", "RestrictAddressFamilies=AF_UNIX"),
        (errno.EACCES, "a security module or a filter", "AppArmor: sudo journalctl"),
    ],
    ids=["EAFNOSUPPORT", "EACCES"],
)
def test_no_sockets_of_af_unix(grant80, error, who, look):
    """The message blames what forbids AF_UNIX, and not the kernel's version."""
    done = launching.run_filtered(error, "socket=1", support.PYBIND, "-p", "80", "true")
    said = told(done)
    assert f"{who} denies the helper a socket of AF_UNIX ({os.strerror(error)})" in said[0]
    assert look in said[1]
    assert os.uname().release not in done.stderr


def test_helper_that_gives_up(grant80):
    """A helper that may not make itself harmless ends; the message says where to look."""
    done = launching.run_filtered(errno.EPERM, "close_range", support.PYBIND, "-p", "80", "true")
    said = told(done)
    assert said[0].startswith(f"{HELPER} died before it answered: a filter or a security module")
    assert said[1:] == [
        "AppArmor: sudo journalctl -k -g DENIED",
        "SELinux: sudo ausearch -m avc -ts recent",
    ]


# -- what stands around pybind and keeps the capability away: pybind goes outside of it


def outside_of(wrapper, words, supervised, listening):
    """Follow the repair: put `pybind --mode supervise` outside of what stood around pybind."""
    code = "import socket; s = socket.socket(); s.bind(('', 80)); print('bound')"
    program = ["/usr/bin/python3", "-c", code]
    done = support.run([*wrapper, support.PYBIND, "-p", "80", "--", *program])
    said = "\n".join(told(done))
    assert words in said
    way = printed.said(said, supervised).split()[1:3]
    done = pybind(*way, "-p", "80", "--", *wrapper, *program)
    assert done.stdout == "bound\n", done.stderr
    given = "import socket, sys; print(socket.socket(fileno=3).getsockname()[1])"
    way = printed.said(said, listening).split()[1:2]
    done = pybind(*way, "-p", "80", "--", *wrapper, "/usr/bin/python3", "-c", given)
    assert done.stdout == "80\n", done.stderr


def test_no_new_privs_around_it(grant80):
    """setpriv --no-new-privs goes inside pybind: supervised or with --listen, that works."""
    outside_of(
        ["/usr/bin/setpriv", "--no-new-privs"],
        "no_new_privs is set for this process",
        "diagnose.lost_capability: pybind --mode supervise ... -- COMMAND",
        "diagnose.lost_capability: pybind --listen ... -- COMMAND",
    )


def test_user_namespace_around_it(grant80):
    """unshare goes inside pybind."""
    unshare = ["/usr/bin/unshare", "-U"]
    if support.run([*unshare, "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    names = [
        "diagnose.user_namespace: pybind --mode supervise ... -- COMMAND",
        "diagnose.user_namespace: pybind --listen ... -- COMMAND",
    ]
    outside_of([*unshare, "-r"], "in a user namespace", *names)
    outside_of(unshare, "in a user namespace", *names)


def test_user_namespace_with_a_network_of_its_own():
    """Root of the user namespace binds by itself, other users by grants of that container."""
    unshare = ["/usr/bin/unshare", "-Urn"]
    if support.run([*unshare, "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    code = "import socket; s = socket.socket(); s.bind(('', 80)); print('bound')"
    done = support.run(
        [*unshare, support.PYBIND, "-q", "-p", "80", "--", "/usr/bin/python3", "-c", code]
    )
    assert done.stdout == "bound\n", done.stderr


def test_capability_of_a_user_namespace(grant80):
    """Root of a user namespace is refused too: that root cannot bind the host's ports."""
    unshare = ["/usr/bin/unshare", "-Ur"]
    if support.run([*unshare, "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    said = told(support.run([*unshare, support.PYBIND, "--", "true"]))
    assert "in a user namespace" in said[1]
