# SPDX-License-Identifier: GPL-3.0-or-later
"""authbind is the oracle: its helper for permission files, its command for command lines.

The helpers judge generated permission files. PYBIND_COMPAT_CASES sets the number of
questions, PYBIND_COMPAT_SEED their seed. tests/lib/differences.py lists the only allowed
differences.

Debian's authbind command and ours run the same command lines, side by side. Each allowed
difference is a row of COMMAND_DIFFERENCES, with the name under which authbind(1) gives the
reason.
"""

import grp
import os
import pathlib
import re
import shutil
import stat
import subprocess

import comparing
import pytest
import support
from ask import AUTHBIND_HELPER
from differences import DIFFERENCES

CASES = int(os.environ.get("PYBIND_COMPAT_CASES", "50000"))
SEED = int(os.environ.get("PYBIND_COMPAT_SEED", "20240229"))
CASES_FOR_COUNTS = 20000  # with fewer cases a rare difference may not occur
WORKERS = 2
WORKER = pathlib.Path(__file__).resolve().parents[2] / "lib/comparing.py"
GIVE_UP_S = 300 + CASES // 50  # many times the duration on an idle machine
LONG = pytest.mark.bound(2 * GIVE_UP_S)


@pytest.fixture(scope="module")
def findings():
    """Run the workers once; return the sum of their findings."""
    return comparing.run_workers(WORKER, SEED, CASES, [()] * WORKERS, GIVE_UP_S)


def _table(findings):
    """Return a table of the named differences.

    held: in how many cases the difference could count. explained: how many differing answers
    had it among their explanations. alone: how many had no other explanation.
    """
    lines = [f"seed {SEED}, {findings['cases']} cases, {dict(findings['verdicts'])}"]
    lines.append(f"{'':24}{'held':>8}{'explained':>11}{'alone':>8}")
    for name in (difference.identifier for difference in DIFFERENCES):
        counts = [findings[counter][name] for counter in ("held", "explained", "alone")]
        lines.append("{:24}{:8}{:11}{:8}".format(name, *counts))
    return "\n".join(lines)


def test_authbind_helper_is_there():
    """authbind's real helper is installed; without that helper the comparison means nothing."""
    status = pathlib.Path(AUTHBIND_HELPER).stat()
    assert status.st_uid == 0
    assert status.st_mode & stat.S_ISUID, "apt-get install --reinstall authbind"


@LONG
@pytest.mark.hostile(55)
def test_only_named_differences(findings):
    """The workers found no unnamed difference, no other error than EACCES, no wrong deciding file."""
    print(_table(findings))
    assert findings["cases"] >= CASES
    comparing.assert_none_failed(findings, f"tests/lib/comparing.py {SEED} NUMBER 1 1")


@LONG
def test_each_difference_is_needed(findings):
    """Each named difference occurred, and was at least once the only explanation."""
    if findings["cases"] < CASES_FOR_COUNTS:
        return
    dead = [d.identifier for d in DIFFERENCES if not findings["alone"][d.identifier]]
    assert not dead, f"never the only explanation: {dead}\n{_table(findings)}"


@LONG
def test_verdicts_are_mixed(findings):
    """Each of the four pairs of answers occurs in more than 2 % of the cases."""
    if findings["cases"] < CASES_FOR_COUNTS:
        return
    shares = {name: count / findings["cases"] for name, count in findings["verdicts"].items()}
    assert len(shares) == 4
    assert min(shares.values()) > 0.02, shares


# The commands.

REAL, OURS = "/usr/bin/authbind", support.PREFIX + "/bin/authbind"
THEIR_CONFIG = pathlib.Path("/etc/authbind")
MAKE = ["make", "-s", "-C", str(support.REPOSITORY)]

BIND = """
import socket, sys
try:
    socket.socket().bind(("127.0.0.1", int(sys.argv[1])))
    print("bound")
except OSError as error:
    print("errno", error.errno)
"""
BIND_C = """
#include <errno.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
    if (argc > 1) { execvp(argv[1], argv + 1); return 9; }
    if (bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&in, sizeof in) == 0) puts("bound");
    else printf("errno %d\\n", errno);
    return 0;
}
"""


@pytest.fixture(scope="module")
def installed():
    """Install our command as an administrator does, and remove it afterwards."""
    assert os.access(REAL, os.X_OK), "apt-get install authbind"
    subprocess.run([*MAKE, "install-authbind-compat"], check=True)
    yield
    subprocess.run(["rm", "-rf", THEIR_CONFIG], check=True)


@pytest.fixture
def granted(installed, grant80):
    """Grant port 80 in both trees, to the same group."""
    shutil.rmtree(THEIR_CONFIG, ignore_errors=True)
    for name in ("byport", "byaddr", "byuid"):
        (THEIR_CONFIG / name).mkdir(parents=True)
    shutil.copy2(grant80, THEIR_CONFIG / "byport/80")
    os.chown(THEIR_CONFIG / "byport/80", 0, support.GID)


@pytest.fixture(scope="module")
def programs():
    """Return a folder with the programs of the table."""
    path = support.scratch_dir()
    (path / "bind").write_text("#!/usr/bin/python3\n" + BIND)
    for depth in range(2, 6):  # binds once it has been executed by `depth` shells
        inner = f"./chain{depth - 1}" if depth > 2 else "./bind"
        (path / f"chain{depth}").write_text(f"#!/bin/sh\nexec {inner} 80\n")
    (path / "forks").write_text("#!/bin/sh\n./bind 80\n:\n")
    (path / "plain-text").write_text("./bind 80\n")  # no #!: execvp gives it to /bin/sh
    (path / "-dash").write_text("#!/bin/sh\necho dash\n")
    (path / "nested").write_text("#!/bin/sh\nexec $AUTHBIND ./forks\n")
    for entry in path.iterdir():
        entry.chmod(0o755)
    (path / "unexecutable").touch(0o644)
    (path / "broken").write_text("#!/nonexistent/interpreter\n")
    (path / "broken").chmod(0o755)
    shutil.copy(support.compile_c(BIND_C, "-static"), path / "static")
    shutil.copy(support.compile_c(BIND_C), path / "setgid")
    os.chown(path / "setgid", 0, grp.getgrnam("games").gr_gid)
    (path / "setgid").chmod(0o2755)
    return path


@pytest.fixture
def folder(programs, granted):
    """Return that folder. Port 80 is granted, and both commands are installed."""
    return programs


def run_both(words, folder, before=(), environ=None):
    """Run `authbind WORDS` by both commands; return two CompletedProcess, theirs first."""
    results = []
    for command in (REAL, OURS):
        env = {"PATH": f"{folder}:/usr/bin:/bin", "AUTHBIND": command, **(environ or {})}
        results.append(support.run([*before, command, *words], cwd=folder, env=env))
    return results


SAME = [
    # the program and its exit status
    [], ["true"], ["false"], ["sh", "-c", "exit 37"], ["sh", "-c", "kill -TERM $$"],
    ["printf", "%s;", "--depth", "-x", "--", "", "--deep"],
    # programs that cannot be started
    ["/nonexistent"], ["nonexistent-program"], ["/etc"], ["./unexecutable"], ["./broken"], [""],
    ["/etc/passwd/x"],
    # ends of options, and unknown options
    ["--", "true"], ["--"], ["-"], ["-", "-dash"], ["-", "true"], ["--", "-", "-dash"],
    ["-h", "echo", "ran"], ["-x", "--no-such-option", "echo", "ran"], ["--", "--deep", "forks"],
    ["--version", "echo", "ran"], ["--no-such-option"], ["--depth=2", "./forks"], ["--deep=x", "true"],
    # help
    ["--help"], ["--deep", "--help", "false"], ["--depth", "0", "--help"],
    # values of --depth
    ["--depth"], ["--depth", "2"], ["--depth", "0", "true"], ["--depth", "1", "true"],
    ["--depth", "100", "true"], ["--depth", "101", "true"], ["--depth", "-1", "true"],
    ["--depth", "2x", "true"], ["--depth", "x", "true"], ["--depth", "", "true"],
    ["--depth", " 2", "./chain2"], ["--depth", "+2", "./chain2"], ["--depth", "2 ", "true"],
    ["--depth", "0x2", "true"], ["--depth", "002", "./chain2"], ["--depth", "--deep", "true"],
    ["--depth", "99999999999999999999999", "true"], ["--depth", "1.5", "true"],
    # depth: a chain of scripts that execute one another, children, the last option counts
    ["./bind", "80"], ["./chain2"], ["./forks"], ["./plain-text"],
    *(["--depth", str(depth), f"./chain{chain}"] for depth in range(1, 6) for chain in range(2, 6)),
    ["--deep", "./chain5"], ["--depth", "2", "./forks"], ["--deep", "./forks"],
    ["--deep", "./plain-text"], ["--depth", "2", "./plain-text"],
    ["--deep", "--depth", "1", "./chain2"], ["--depth", "1", "--deep", "./chain2"],
    ["--depth", "3", "--depth", "2", "./chain3"], ["--deep", "env", "-i", "./bind", "80"],
    ["--depth", "2", "env", "./forks"], ["--depth", "3", "env", "./forks"],
    ["--deep", "./static", "./bind", "80"], ["--depth", "2", "./nested"],
    # unprivileged ports
    ["./bind", "8080"], ["./bind", "0"],
]  # fmt: skip


@pytest.mark.parametrize("words", SAME, ids=" ".join)
def test_same(folder, words):
    """Both have the same status and output, apart from the wording of messages."""
    real, ours = run_both(words, folder)
    assert ours.returncode == real.returncode, (real, ours)
    assert bool(ours.stderr) == bool(real.stderr), (real, ours)
    if "--help" not in words:
        assert ours.stdout == real.stdout, (real, ours)


NO_NEW_PRIVS = ("/usr/bin/setpriv", "--no-new-privs", "/usr/bin/env")
DENIED, BOUND, NOTHING = (0, "errno 13\n"), (0, "bound\n"), (255, "")
COMMAND_DIFFERENCES = [
    # name in authbind(1), command line, before it, theirs, ours
    ("any-program", ["./static"], (), DENIED, BOUND),
    ("any-program", ["--depth", "1", "./static", "./bind", "80"], (), BOUND, BOUND),
    ("any-program", ["./static", "./forks"], (), DENIED, BOUND),
    ("privileged-program", ["./setgid"], (), DENIED, NOTHING),
    ("helper-unusable", ["./bind", "80"], NO_NEW_PRIVS, DENIED, NOTHING),
    ("helper-unusable", ["./bind", "8080"], NO_NEW_PRIVS, BOUND, NOTHING),
    ("refused-bind", ["./bind", "81"], (), (0, "errno 1\n"), DENIED),
    ("nested", ["--deep", "./nested"], (), BOUND, DENIED),
    ("negative-depth", ["--depth", "-18446744073709551615", "true"], (), (0, ""), NOTHING),
]


@pytest.mark.parametrize(("name", "words", "before", "theirs", "own"), COMMAND_DIFFERENCES)
def test_differences(folder, name, words, before, theirs, own):
    """Each difference is what authbind(1) says it is."""
    real, ours = run_both(words, folder, before)
    assert (real.returncode, real.stdout) == theirs, real
    assert (ours.returncode, ours.stdout) == own, ours
    assert bool(ours.stderr) == (own == NOTHING), ours
    if name == "helper-unusable":
        assert "no_new_privs is set" in ours.stderr


def test_other_differences(folder):
    """The differences judged-by, environment and messages, which no status shows."""
    real, ours = run_both(["--depth", "3", "env"], folder, environ={"LD_PRELOAD": "libm.so.6"})
    assert "LD_PRELOAD=libm.so.6:/usr/lib/authbind/" in real.stdout
    assert "AUTHBIND_LEVELS=1\n" in real.stdout
    assert f"LD_PRELOAD={support.LIBRARY}:libm.so.6\n" in ours.stdout
    assert "PYBIND_DEPTH=2\n" in ours.stdout
    assert "AUTHBIND_L" not in ours.stdout
    _, ours = run_both(["./bind", "80"], folder, environ={"AUTHBIND_LIB": "/nonexistent.so"})
    assert ours.stdout == "bound\n"
    (support.CONFIG / "byport/80").unlink()
    real, ours = run_both(["./bind", "80"], folder)
    assert (real.stdout, ours.stdout) == ("bound\n", "errno 13\n")
    _, ours = run_both(["/nonexistent"], folder)
    assert ours.stderr == "authbind: cannot start '/nonexistent': No such file or directory\n"


def test_every_difference_is_in_the_manual():
    """authbind(1) lists the names of this file and no others."""
    page = (support.REPOSITORY / "man/authbind.1").read_text()
    listed = re.findall(r"^\.It Sy (\S+)$", page, re.M)
    assert set(listed) == {
        "judged-by",
        "environment",
        "messages",
        *(d[0] for d in COMMAND_DIFFERENCES),
    }


@pytest.mark.parametrize("command", [REAL, OURS])
@pytest.mark.parametrize(
    ("options", "expected"),
    [(["--deep"], "bound\n"), (["--depth", "2"], "errno 13\n"), (["--depth", "3"], "bound\n")],
)
def test_root_that_becomes_a_user(folder, command, options, expected):
    """A program that root starts is served as the user that it becomes."""
    drop = ["setpriv", "--reuid", str(support.UID), "--regid", str(support.GID), "--clear-groups"]
    done = subprocess.run([command, *options, *drop, "env", "./bind", "80"], cwd=folder,
                          capture_output=True, text=True, timeout=support.PATIENCE_S)  # fmt: skip
    assert done.stdout == expected, done


def test_supervised_program_keeps_its_status(folder):
    """A supervised program ends the command with its own status or signal."""
    busybox = shutil.which("busybox")
    assert busybox, "apt-get install busybox-static"
    for script in ("exit 37", "kill -TERM $$"):
        real, ours = run_both([busybox, "sh", "-c", script], folder)
        assert ours.returncode == real.returncode


def test_install_and_uninstall(tmp_path):
    """The command is off by default, replaces no other authbind, and can be uninstalled."""
    stage = [*MAKE, f"DESTDIR={tmp_path}"]
    program = tmp_path / support.PREFIX.lstrip("/") / "bin/authbind"
    page = tmp_path / support.PREFIX.lstrip("/") / "share/man/man1/authbind.1"
    early = subprocess.run([*stage, "install-authbind-compat"], capture_output=True, text=True)
    assert early.returncode == 2
    assert "pybind itself is not installed" in early.stderr
    subprocess.run([*stage, "install"], check=True, capture_output=True)
    assert not program.exists()
    assert not page.exists()
    for _ in range(2):  # a second install replaces our own command
        subprocess.run([*stage, "install-authbind-compat"], check=True)
    assert (program.stat().st_mode & 0o7777, page.stat().st_mode & 0o7777) == (0o755, 0o644)
    subprocess.run([*stage, "uninstall"], check=True, capture_output=True)
    assert not program.exists()
    assert not page.exists()

    subprocess.run([*stage, "install"], check=True, capture_output=True)
    for foreign in (program, page):
        foreign.write_bytes(b"somebody else's")
        refused = subprocess.run(
            [*stage, "install-authbind-compat"], capture_output=True, text=True
        )
        assert refused.returncode == 2
        assert f"{foreign} is not pybind's, and is not overwritten" in refused.stderr
        assert foreign.read_bytes() == b"somebody else's"
        subprocess.run([*stage, "uninstall"], check=True, capture_output=True)
        assert foreign.read_bytes() == b"somebody else's"
        foreign.unlink()
        subprocess.run([*stage, "install"], check=True, capture_output=True)
