# SPDX-License-Identifier: GPL-3.0-or-later
"""Permission files that others can change, and file systems that fail or hang."""

import contextlib
import errno
import os
import pathlib
import re
import signal
import socket
import subprocess

import attacked
import hostile
import launching
import pytest
import support
from hostile import Helper, Outcome, as_uid, ask, bind_request, granted
from support import CONFIG, OTHER_UID, UID, flag, pybind, rules

from pybind import _wire as w

ETC = CONFIG.parent


@contextlib.contextmanager
def changed(path, mode=None, owner=None):
    """Give a path another mode or owner for a while."""
    before = os.stat(path)
    try:
        if mode is not None:
            os.chmod(path, mode)
        if owner is not None:
            os.chown(path, *owner)
        yield
    finally:
        os.chown(path, before.st_uid, before.st_gid)
        os.chmod(path, before.st_mode & 0o7777)


@pytest.mark.parametrize(
    "harm", [{"mode": 0o775}, {"mode": 0o757}, {"mode": 0o1777}, {"owner": (UID, 0)}], ids=str
)
def test_case_26_folder_above(uid, grant, harm):
    """If others can write /etc itself, the port is refused and the message names /etc."""
    with changed(ETC, **harm):
        assert as_uid(uid, ask) == hostile.refused(w.REASON_CONFIG_UNSAFE)
        done = pybind("--port", "80", "true", uid=uid)
    assert done.returncode == 125
    assert re.search(rf"{ETC}(?![/\w])", done.stderr), done.stderr


@pytest.mark.parametrize("folder", ["", "byport", "byuser"])
@pytest.mark.parametrize("harm", ["group", "world", "owner"])
def test_case_26_folders(uid, grant, folder, harm):
    """If others can change /etc/pybind or its folders, nothing is bound."""
    path = CONFIG / folder
    options = {"group": {"mode": 0o775}, "world": {"mode": 0o757}, "owner": {"owner": (uid, 0)}}
    with changed(path, **options[harm]):
        assert as_uid(uid, ask) == hostile.refused(w.REASON_CONFIG_UNSAFE)


@pytest.mark.parametrize(
    "options", [{"mode": 0o664}, {"mode": 0o646}, {"uid": UID}, {"uid": OTHER_UID}], ids=str
)
def test_case_26_rule_files(uid, options):
    """A rule file that others can write grants nothing."""
    rules(f"byuser/{uid}", "any,80", **options)
    assert as_uid(uid, ask) == hostile.refused(w.REASON_RULES_UNSAFE)


def test_case_26_symbolic_links(uid):
    """A symbolic link in place of a rule file or a folder grants nothing."""
    real = rules("byuser/real", "any,80")
    (CONFIG / f"byuser/{uid}").symlink_to(real)
    assert as_uid(uid, ask) == hostile.refused(w.REASON_RULES_UNSAFE)
    (CONFIG / f"byuser/{uid}").unlink()
    rules(f"byuser/{uid}", "any,80")
    moved = CONFIG.rename(CONFIG.with_name("pybind.aside"))
    CONFIG.symlink_to(moved)
    try:
        assert as_uid(uid, ask) == hostile.refused(w.REASON_CONFIG_UNSAFE)
    finally:
        CONFIG.unlink()
        moved.rename(CONFIG)


def test_case_27_owner_of_a_flag_file(uid):
    """The owner of a flag file can open it to others, as documented; lint warns of this."""
    other = OTHER_UID if uid == UID else UID
    path = flag("byport/80", uid=uid, gid=0, mode=0o500)
    assert as_uid(uid, ask) == granted()
    assert as_uid(other, ask) == hostile.refused(w.REASON_FLAG_DENIED)
    lint = subprocess.run(
        [support.PREFIX + "/bin/pybindctl", "lint"], capture_output=True, text=True
    )
    assert str(path) in lint.stdout
    as_uid(uid, os.chmod, path, 0o755)
    assert as_uid(other, ask) == granted()
    for document, words in (("man/pybind.5", "owner of a file can change its mode"),
                            ("SECURITY.md", "can open it to others")):  # fmt: skip
        assert words in (support.REPOSITORY / document).read_text()


def test_case_28_noexec_mount(uid):
    """On a noexec mount no flag file grants, and the message names the mount."""
    folder = CONFIG / "byport"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "none", folder], check=True)
    try:
        flag("byport/80", mode=0o755)
        assert as_uid(uid, ask) == hostile.refused(w.REASON_FLAG_DENIED)
        assert "noexec" in pybind("--port", "80", "true", uid=uid).stderr
        subprocess.run(["mount", "-o", "remount,exec", folder], check=True)
        assert as_uid(uid, ask) == granted()  # control
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def faulty():
    """Return the program of a file system whose operations fail as told."""
    return launching.build(
        pathlib.Path(__file__).resolve().parent / "src/faulty.c", "-I/usr/include/fuse3", "-lfuse3",
        "-D_FILE_OFFSET_BITS=64", package="libfuse3-dev",
    )  # fmt: skip


@contextlib.contextmanager
def faulty_config(faulty, operation, path, number):
    """Mount that file system over /etc/pybind; yield its process."""
    command = [faulty, CONFIG, operation, path, str(number)]
    daemon = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        support.wait_for(lambda: daemon.poll() is not None or os.path.ismount(CONFIG), "the mount")
        assert daemon.poll() is None
        yield daemon
    finally:
        subprocess.run(["umount", "--lazy", CONFIG], check=False)
        daemon.kill()
        daemon.wait()
        daemon.stdin.close()
        daemon.stdout.close()


ERRORS = ("EIO", "ELOOP", "ENAMETOOLONG", "EACCES", "ENOTDIR", "ENOMEM", "ESTALE")
FAULTS = [
    *(("getattr", "/byport/80", name, w.REASON_FLAG_ERROR) for name in ERRORS),
    *(("access", "/byport/80", name, w.REASON_FLAG_DENIED if name == "EACCES"
       else w.REASON_FLAG_ERROR) for name in ("EIO", "ELOOP", "EROFS", "ETXTBSY", "EACCES")),
    *(("getattr", "/byport", name, w.REASON_CONFIG_ERROR) for name in ("EIO", "EACCES")),
    ("open", "/byuser/{}", "EIO", w.REASON_RULES_ERROR),
    ("open", "/byuser/{}", "EACCES", w.REASON_RULES_UNREADABLE),
    ("open", "/byuser/{}", "EMFILE", w.REASON_RULES_ERROR),
    ("getattr", "/byuser/{}", "EIO", w.REASON_RULES_ERROR),
    ("read", "/byuser/{}", "EIO", w.REASON_RULES_ERROR),
    ("read", "/byuser/{}", "EINTR", w.REASON_RULES_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "path", "name", "reason"), FAULTS, ids=lambda word: str(word).strip("/")
)
def test_case_29_errors_of_the_file_system(uid, faulty, operation, path, name, reason):
    """Any error but ENOENT refuses; later files, which would grant, are not asked."""
    with faulty_config(faulty, operation, path.format(uid), getattr(errno, name)):
        assert as_uid(uid, ask) == hostile.refused(reason)


def test_case_29_control(uid, faulty):
    """Control: without a fault this file system grants, by flag file and rule file."""
    for path in ("/none", "/byuser/none"):
        with faulty_config(faulty, "getattr", path, errno.EIO):
            assert as_uid(uid, ask) == granted()


def hang(daemon, for_alarm):
    """Run by a uid: (helper is there, port) while a file system hangs, and the later outcome.

    for_alarm: look only after the helper's own alarm has come.
    """
    with socket.socket() as sock:
        helper = Helper(sock)
        helper.send(bind_request())
        assert daemon.stdout.readline() == b"waiting\n"
        if for_alarm:
            support.wait_for(lambda: has_alarm(helper), "its alarm")
        ended = os.waitid(os.P_PID, helper.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        during = ended is None, hostile.port_of(sock)
        os.write(daemon.stdin.fileno(), b"x")  # now the file system dies
        return during, helper.outcome()


def has_alarm(helper):
    """Tell whether a helper has got SIGALRM."""
    status = helper.status()
    pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    return status["State"][0] == "Z" or bool(pending & 1 << signal.SIGALRM - 1)


KILLED = Outcome(None, None, 0, -signal.SIGALRM)


@pytest.mark.parametrize(
    ("for_alarm", "expected"),
    [(False, hostile.refused(w.REASON_FLAG_ERROR)), (True, KILLED)],
    ids=["before its alarm", "after it"],
)
def test_case_29_file_system_that_never_answers(uid, faulty, for_alarm, expected):
    """Nothing is bound while a file system hangs, and its death gives a refusal.

    The helper's alarm comes after 5 s. A process that waits for FUSE (state D) dies only when
    FUSE answers or ends: until then the helper stays, and binds nothing later.
    """
    with faulty_config(faulty, "getattr", "/byport/80", 0) as daemon:
        (there, port), outcome = as_uid(uid, hang, daemon, for_alarm)
    assert port == 0
    assert there or for_alarm  # after the alarm another kernel may have let the helper end
    assert outcome == expected


@pytest.mark.parametrize("start", [0, 80, 2000])
def test_case_30_unprivileged_ports(uid, grant, start):
    """The kernel's sysctl counts: the library is not stricter and the helper not laxer."""
    rules(f"byuser/{uid}", "any,80", "any,1500")
    code = "for port in (79, 80, 1500, 1999):\n    s = socket.socket()\n"
    code += "    print(call(s, sin(port)), name(s))\n"
    with hostile.sysctl("net/ipv4/ip_unprivileged_port_start", start):
        done = attacked.under_library(uid, code)
    expected = "".join(
        f"0 {port}\n" if port >= start or port in (80, 1500) else f"{errno.EACCES} 0\n"
        for port in (79, 80, 1500, 1999)
    )
    assert done.stdout == expected, done.stderr
