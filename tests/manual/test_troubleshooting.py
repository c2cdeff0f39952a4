# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers of pybind-troubleshooting(7): tools that interfere with pybind, and upgrades.

A tracer, a container, su, sudo or a security module stops a granted program. The test shows
what pybind says, and that the documented way out works. Upgrades and removals happen under
running servers.
"""

import contextlib
import errno
import pathlib
import re
import subprocess

import launching
import printed
import pytest
import support
from support import GID, HELPER, OTHER_UID, PYBIND, UID

BINDS = """
import socket
with socket.socket() as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("0.0.0.0", 80))
        print("bound")
    except OSError as error:
        print(error.strerror)
"""
DENIED = "Permission denied"


@pytest.fixture
def program():
    """Return the argv of an unmodified program that binds port 80 and prints the result."""
    path = support.scratch_dir() / "program.py"
    path.write_text(BINDS)
    return ["/usr/bin/python3", str(path)]


def last(done):
    """Return the last line of standard output."""
    return (done.stdout.splitlines() or [""])[-1]


def refused(done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr


def as_root(argv):
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, cwd="/",
                          stdin=subprocess.DEVNULL, timeout=support.PATIENCE_S)  # fmt: skip


def test_strace(grant80, program):
    """strace -f makes pybind refuse; each way that the refusal names traces the program."""
    trace = support.scratch_dir() / "trace"
    strace = ["strace", "-f", "-o", trace, "-e", "trace=bind"]
    wanted = re.compile(r"bind\(\d+, .*htons\(80\).*\) += 0$", re.MULTILINE)

    done = support.run([*strace, PYBIND, "-p", "80", "--", *program])
    refused(done, "traces this one")
    around = printed.said(
        done.stderr, "diagnose.lost_capability: pybind --mode supervise ... -- strace -f PROGRAM"
    )
    outside = printed.said(
        done.stderr, "diagnose.lost_capability: sudo strace -u USER -f pybind ..."
    )
    assert (around.split()[1:3], outside.split()[1:3]) == (
        ["--mode", "supervise"],
        ["strace", "-u"],
    )
    assert last(support.pybind("-p", "80", "--", *strace, *program)) == DENIED
    said = support.pybind("-v", "-p", "80", "--", *strace, *program).stderr
    assert "bind of port 80/tcp (IPv4): granted, but the helper has no CAP_NET_BIND_SERVICE" in said

    done = support.pybind("--mode", "supervise", "-p", "80", "--", *strace, *program)
    assert last(done) == "bound", done
    assert wanted.search(trace.read_text())

    trace.unlink()
    done = as_root([*strace, "-u", "nobody", PYBIND, "-p", "80", "--", *program])
    assert last(done) == "bound", done
    assert "htons(80)" in trace.read_text()

    alone = ["strace", "-o", "/dev/null"]
    assert last(support.run([*alone, PYBIND, "-p", "80", "--", *program])) == "bound"
    assert last(support.pybind("-p", "80", "--", *alone, *program)) == "bound"


def test_gdb(grant80, program):
    """gdb does not disturb the program, inside or outside, unless gdb follows children."""
    gdb = ["gdb", "-nx", "-q", "-batch", "-ex", "run"]
    follow = ["gdb", "-nx", "-q", "-batch", "-ex", "set follow-fork-mode child", "-ex", "run"]
    home = ["/usr/bin/env", "HOME=/nonexistent"]
    assert "\nbound\n" in support.run([*home, *gdb, "--args", PYBIND, "-p", "80", *program]).stdout
    assert "\nbound\n" in support.run([*home, PYBIND, "-p", "80", *gdb, "--args", *program]).stdout
    done = support.run([*home, PYBIND, "-p", "80", *follow, "--args", *program])
    assert "\nbound\n" not in done.stdout


CONTAINER = """
echo {start} >/proc/sys/net/ipv4/ip_unprivileged_port_start
ip link set lo up
exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all {options} \
    env pybind -v --port 80 -- "$@"
"""
CAP_DROP = "--bounding-set=-all"
NO_NEW_PRIVILEGES = "--no-new-privs"


def in_container(program, start, options):
    """Run pybind in its own network namespace, as Docker would."""
    script = CONTAINER.format(start=start, uid=UID, options=options)
    return as_root(["unshare", "--net", "sh", "-ec", script, "sh", *program])


def test_container_of_docker(program):
    """With the sysctl at 0 no port is privileged, so the program starts plainly."""
    done = in_container(program, 0, f"{CAP_DROP} {NO_NEW_PRIVILEGES}")
    assert last(done) == "bound", done
    assert "0.0.0.0:80/tcp: granted (the kernel allows it without a grant)" in done.stderr
    assert "started plainly" in done.stderr


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (NO_NEW_PRIVILEGES, ("no_new_privs is set", "docker: no-new-privileges")),
        (CAP_DROP, ("bounding set", "docker: --cap-add NET_BIND_SERVICE")),
    ],
)
def test_container_of_others(grant80, program, option, words):
    """With the sysctl at 1024 the message names what keeps the capability away."""
    refused(in_container(program, 1024, option), *words)


def test_nested(grant80, program):
    """A nested pybind narrows the ports; a second supervisor is refused."""
    support.flag("byport/443")
    supervise = ["--mode", "supervise"]
    assert last(support.pybind("-p", "80", "--", PYBIND, "-p", "80", "--", *program)) == "bound"
    assert last(support.pybind(*supervise, "-p", "80", PYBIND, "-p", "80", *program)) == "bound"
    assert last(support.pybind("-p", "80", PYBIND, *supervise, "-p", "80", *program)) == "bound"
    refused(support.pybind("-p", "443", "--", PYBIND, "-p", "80", "--", *program),
            "port 80 is not among the ports of the pybind that started this one")  # fmt: skip
    refused(support.pybind(*supervise, "-p", "80", PYBIND, *supervise, "-p", "80", *program),
            "a supervisor is already there")  # fmt: skip


def test_no_supervisor_is_there(grant80, program):
    """A container with a filter and no_new_privs is not taken for a supervisor."""
    supervised = ("setpriv", "--no-new-privs", PYBIND, "-v", "--mode", "supervise")
    for ports in (["-p", "80"], []):
        done = launching.run_filtered(errno.ENOSYS, "reboot", *supervised, *ports, *program)
        refused(done, "no_new_privs is set")
        assert "a supervisor is already there" not in done.stderr


@pytest.fixture
def may_sudo():
    """Let UID use sudo without a password; the file ends with the sandbox."""
    path = pathlib.Path("/etc/sudoers.d/pybind-tests")
    path.write_text("nobody ALL=(ALL) NOPASSWD: ALL\n")
    path.chmod(0o440)
    yield
    path.unlink()


def test_sudo(grant80, program, may_sudo):
    """pybind around sudo serves nothing, and sudo fails in a supervisor; inside sudo it works."""
    to_user = ["sudo", "-n", "-u", "nobody"]
    assert last(support.pybind("-p", "80", "--", *to_user, *program)) == DENIED
    assert last(support.run([*to_user, PYBIND, "-p", "80", "--", *program])) == "bound"
    assert last(as_root([*to_user, PYBIND, "-p", "80", "--", *program])) == "bound"
    done = support.pybind("--mode", "supervise", "-p", "80", "--", "sh", "-c", "sudo -n true")
    assert done.returncode != 0
    assert '"no new privileges" flag is set' in done.stderr


@pytest.fixture
def guest():
    """Make a user without a password, so that su asks nothing."""
    files = [pathlib.Path("/etc/passwd"), pathlib.Path("/etc/shadow")]
    before = [path.read_text() for path in files]
    lines = [f"guest:x:{OTHER_UID}:{GID}::/:/bin/sh\n", "guest::20000:0:99999:7:::\n"]
    for path, text, line in zip(files, before, lines):
        path.write_text(text + line)
    yield "guest"
    for path, text in zip(files, before):
        path.write_text(text)


def test_su(grant80, program, guest):
    """pybind around su serves nothing; inside su it works."""
    su, command = ["su", guest, "-c"], " ".join(program)
    assert last(support.pybind("-p", "80", "--", *su, command)) == DENIED
    assert last(support.run([*su, f"{PYBIND} -p 80 -- {command}"])) == "bound"


def test_environment_taken_away(grant80, program):
    """A program that loses LD_PRELOAD is served only with --mode supervise."""
    emptied = ["env", "-i", *program]
    assert last(support.pybind("-p", "80", "--", *emptied)) == DENIED
    assert last(support.pybind("--mode", "supervise", "-p", "80", "--", *emptied)) == "bound"


LANDLOCK = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
attributes = struct.pack("=QQ", 0, 1)  # handled_access_net: LANDLOCK_ACCESS_NET_BIND_TCP
ruleset = libc.syscall(444, attributes, len(attributes), 0)
if ruleset < 0:
    sys.exit("none")
assert libc.syscall(446, ruleset, 0) == 0
"""
SECCOMP = """
import errno, os, sys
import seccomp
rules = seccomp.SyscallFilter(seccomp.ALLOW)
rules.set_attr(seccomp.Attr.CTL_NNP, 0)
rules.add_rule(seccomp.ERRNO(errno.EPERM), "bind")
rules.load()
"""
BECOME = f"""
os.setgroups([])
os.setresgid({UID}, {UID}, {UID})
os.setresuid({UID}, {UID}, {UID})
os.execv({PYBIND!r}, ["pybind", *sys.argv[1:]])
"""


def test_denied_by_a_security_module(grant80, program):
    """For a granted port that Landlock denies, the message names what denies it."""
    done = as_root(["/usr/bin/python3", "-c", LANDLOCK + BECOME, "-p", "80", "--", *program])
    if done.stderr == "none\n":
        pytest.skip("this kernel has no Landlock for ports")
    refused(
        done,
        "port 80/tcp is granted to nobody (uid 65534), and bind(2) is denied: by a security module",
        "ausearch -m avc",
    )


def test_forbidden_by_a_filter(grant80, program):
    """EPERM never comes from the permission files; the message names its source."""
    done = as_root(["/usr/bin/python3", "-c", SECCOMP + BECOME, "-p", "80", "--", *program])
    refused(done, "bind(2) is forbidden to this process", "SocketBindDeny=")


# -- upgrades and removals under running servers

PROGRAM = """
import os, socket, sys
for line in sys.stdin:
    if line == "child\\n":
        os.system("true")
        print("done", flush=True)
        continue
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", 80))
            print("done: bound", flush=True)
        except OSError as error:
            print("done:", error.strerror, flush=True)
"""


class Running:
    """A running server that binds on request."""

    def __init__(self, mode):
        program = support.scratch_dir() / "program.py"
        program.write_text(PROGRAM)
        self.log = program.with_suffix(".log")
        argv = [PYBIND, "-v", "--mode", mode, "--port", "80", "/usr/bin/python3", program]
        with open(self.log, "w") as log:
            pipe = subprocess.PIPE
            self.process = support.as_user(argv, stdin=pipe, stdout=pipe, stderr=log, text=True)

    def ask(self, word):
        """Return the program's answer; messages of pybind go into the log."""
        self.said = self.log.read_text()
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def says(self, text):
        """Wait for a message of pybind, which may come after the program's answer."""
        try:
            support.wait_for(lambda: text in self.log.read_text()[len(self.said) :], text)
        except AssertionError as error:
            raise AssertionError(f"{error}; said: {self.log.read_text()}") from None


@contextlib.contextmanager
def running(mode):
    server = Running(mode)
    try:
        yield server
    finally:
        server.process.stdin.close()
        server.process.wait(support.PATIENCE_S)
        server.process.stdout.close()


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_upgrade(grant80, make, mode):
    """A running server survives an upgrade with its old library or supervisor."""
    with running(mode) as server:
        assert server.ask("bind") == "done: bound"
        make("install")
        assert server.ask("bind") == "done: bound"


def test_upgrade_from_another_tree(make):
    """What the version before had in place of a module, or beside it, is gone afterwards."""
    package = pathlib.Path(support.PREFIX, "share/pybind/pybind")
    pybindctl = [f"{support.PREFIX}/bin/pybindctl", "--help"]
    hiding = package / "admin/output"  # a folder goes before a module of its name
    compiled = package / "admin/__pycache__/gone.cpython-39.pyc"
    old = [hiding / "__init__.py", package / "gone.py", package / "gone/deep/module.py", compiled]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert support.run(pybindctl).returncode != 0
    make("install")
    assert not [path for path in [*old, hiding, package / "gone"] if path.exists()]
    assert support.run(pybindctl).returncode == 0
    assert list((package / "admin/__pycache__").glob("output.*.pyc"))


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_another_version(grant80, other_version, mode):
    """After a change of the protocol the refusal says so; unprivileged binds still work."""
    with running(mode) as server:
        assert server.ask("bind") == "done: bound"
        other_version()
        assert server.ask("bind") == "done: Permission denied"
        server.says("is of another version")
    done = support.pybind("--port", "80", "true")
    assert done.returncode == 125
    assert "is of another version than this command" in done.stderr
    printed.typed(done.stderr, "helper._decode: sudo {REINSTALL}")
    assert support.pybind("--port", "80", "true").returncode == 0


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_removal(grant80, make, mode):
    """After a removal a running server can bind no more, and -v says why."""
    with running(mode) as server:
        assert server.ask("bind") == "done: bound"
        make("uninstall")
        assert server.ask("bind") == "done: Permission denied"
        gone = {"preload": "the helper is not in the root directory of this process"}
        server.says(gone.get(mode, f"cannot start {HELPER}"))
        assert server.ask("child") == "done"
        text = "cannot be preloaded (cannot open shared object file): ignored."
        assert (text in server.log.read_text()) == (mode == "preload")
