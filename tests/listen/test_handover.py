# SPDX-License-Identifier: GPL-3.0-or-later
"""--listen and --inetd: what the program finds when it starts."""

import contextlib
import json
import pathlib
import re
import socket
import subprocess

import pytest
import support
from support import OTHER_UID, PYBIND, UID, pybind, rules

SEE = """
import fcntl, json, os, socket, sys
def about(fd):
    if not os.path.realpath("/proc/self/fd/%d" % fd).count("socket:"):
        return None
    with socket.socket(fileno=os.dup(fd)) as sock:
        v6 = sock.family == socket.AF_INET6
        return [sock.family.name, sock.type.name, *sock.getsockname()[:2],
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
                sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) if v6 else None]
fds = [int(name) for name in os.listdir("/proc/self/fd")]
seen = {}
for fd in sorted(fds):
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        continue  # listdir's own
    seen[fd] = about(fd)
print(json.dumps({"fds": seen, "argv": sys.argv[1:], "pid": os.getpid(),
                  "env": {k: v for k, v in os.environ.items() if k.startswith("LISTEN_")}}))
"""
PYTHON = ("/usr/bin/python3", "-I", "-c")
DUAL80 = ["AF_INET6", "SOCK_STREAM", "::", 80, 1, 0]


def seen_by(*options, arguments=(), between=(), **more):
    """Return what a program reports that `pybind OPTIONS` starts."""
    done = pybind(*options, "--", *between, *PYTHON, SEE, *arguments, **more)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found = json.loads(done.stdout)
    found["fds"] = {int(fd): what for fd, what in found["fds"].items()}
    return found


@contextlib.contextmanager
def setting(name, value):
    """Set a sysctl, and restore its value afterwards."""
    path = pathlib.Path("/proc/sys", name)
    before = path.read_text()
    path.write_text(str(value))
    try:
        yield
    finally:
        path.write_text(before)


def test_one(granted):
    """One port gives one socket for both families, descriptor 3, and nothing else above 2."""
    found = seen_by("--listen", "--port", "80", arguments=["{fd}", "--fd={fd}", "{fd}{fd}", "fd"])
    assert found["fds"] == {0: None, 1: None, 2: None, 3: DUAL80}
    assert found["env"] == {
        "LISTEN_FDS": "1", "LISTEN_PID": str(found["pid"]), "LISTEN_FDNAMES": "unknown"}  # fmt: skip
    assert found["argv"] == ["3", "--fd=3", "33", "fd"]


def test_several(granted):
    """Sockets have the order and names of the command line, and the manual's options."""
    options = ["--listen", "-p", "web=80", "-p", "127.0.0.1:443/tcp", "-p", "dns a=80/udp",
               "-p", "v6=[::1]:443", "-p", "[::ffff:127.0.0.2]:443"]  # fmt: skip
    found = seen_by(*options, arguments=["{fd:web},{fd:v6}", "{fd:dns a}", "{}"])
    assert found["fds"] == {
        0: None, 1: None, 2: None, 3: DUAL80,
        4: ["AF_INET", "SOCK_STREAM", "127.0.0.1", 443, 1, None],
        5: ["AF_INET6", "SOCK_DGRAM", "::", 80, 0, 0],
        6: ["AF_INET6", "SOCK_STREAM", "::1", 443, 1, 1],
        7: ["AF_INET6", "SOCK_STREAM", "::ffff:127.0.0.2", 443, 1, 0],
    }  # fmt: skip
    assert found["env"]["LISTEN_FDNAMES"] == "web:unknown:dns a:v6:unknown"
    assert found["env"]["LISTEN_FDS"] == "5"
    assert found["argv"] == ["3,6", "5", "{}"]


def test_inetd(granted):
    """--inetd gives the socket as standard input, and removes the variables of systemd."""
    stale = {"PATH": "/usr/bin", "LISTEN_FDS": "2", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a:b"}
    found = seen_by("--inetd", "--port", "80", arguments=["{fd}"], env=stale)
    assert found["fds"] == {0: DUAL80, 1: None, 2: None}
    assert (found["env"], found["argv"]) == ({}, ["0"])


def test_inetd_datagrams(granted):
    """A UDP port as standard input works like inetd's `dgram wait`."""
    found = seen_by("--inetd", "--port", "80/udp")
    assert found["fds"][0] == ["AF_INET6", "SOCK_DGRAM", "::", 80, 0, 0]


@pytest.fixture(scope="module")
def shows_descriptors():
    """Return a program that reports its first descriptors, and can start without any."""
    return support.compile_c(
        """
        #include <fcntl.h>
        #include <stdio.h>
        #include <sys/stat.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            char text[100], path[40], target[40];
            int length = 0;
            for (int fd = 0; fd < 6; fd++) {
                snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
                ssize_t got = readlink(path, target, sizeof target - 1);
                target[got < 0 ? 0 : got] = 0;
                length += snprintf(text + length, sizeof text - length, "%.6s ",
                                   got < 0 ? "-" : target);
            }
            int out = open(argv[1], O_WRONLY | O_CREAT, 0644);
            return write(out, text, length) != length;
        }""",
        "-w",
    )


@pytest.mark.parametrize("option", ["--listen", "--inetd"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-", "</etc >&-"])
def test_standard_descriptors(granted, shows_descriptors, option, closed):
    """Closed descriptors stay closed and directories stay, except where the socket goes."""
    path = support.scratch_dir() / "fds"
    expected = []
    for argv in ([], [PYBIND, option, "-p", "80", "--"]):
        support.run(["sh", "-c", f'exec "$@" {closed}', "sh", *argv, shows_descriptors, path])
        expected.append(path.read_text().split())
        path.unlink()
    without, found = expected
    without[0 if option == "--inetd" else 3] = "socket"
    assert found == without


def test_stale_variables_are_replaced(granted):
    """The variables of an outer activation, LISTEN_PIDFDID too, do not reach the program."""
    stale = {"PATH": "/usr/bin", "LISTEN_FDS": "7", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x",
             "LISTEN_PIDFDID": "5", "LISTEN_ELSE": "stays"}  # fmt: skip
    found = seen_by("--listen", "-p", "80", env=stale)
    assert found["env"] == {"LISTEN_FDS": "1", "LISTEN_PID": str(found["pid"]),
                            "LISTEN_FDNAMES": "unknown", "LISTEN_ELSE": "stays"}  # fmt: skip


def test_process_id_survives_what_executes(granted):
    """LISTEN_PID stays right through setpriv and env, which keep the process."""
    between = ["/usr/bin/setpriv", "--no-new-privs", "/usr/bin/env", "A=1"]
    found = seen_by("--listen", "-p", "80", between=between)
    assert found["env"]["LISTEN_PID"] == str(found["pid"])
    assert found["fds"][3] == DUAL80


@pytest.mark.parametrize("bindv6only", [0, 1])
def test_bindv6only_does_not_matter(granted, bindv6only):
    """A socket without an address takes both families, whatever net.ipv6.bindv6only is."""
    with setting("net/ipv6/bindv6only", bindv6only):
        options = ["-p", "80", "-p", "[::ffff:127.0.0.1]:443", "-p", "[::1]:443"]
        found = seen_by("--listen", *options)
    assert found["fds"][3] == DUAL80
    assert (found["fds"][4][-1], found["fds"][5][-1]) == (0, 1)


def test_without_ipv6(granted):
    """On a host without IPv6 addresses the socket takes IPv4, without a note."""
    code = """if True:
        import socket
        listening = socket.socket(fileno=3)
        client = socket.create_connection(("127.0.0.1", 80))
        print(listening.accept()[1][0])"""
    with setting("net/ipv6/conf/all/disable_ipv6", 1):
        done = pybind("--listen", "-p", "80", *PYTHON, code)
    for state in ("down", "up"):  # lo gets ::1 back
        subprocess.run(["ip", "link", "set", "lo", state], check=True)
    assert (done.stdout, done.stderr) == ("::ffff:127.0.0.1\n", "")


def test_both_families_by_address(granted):
    """0.0.0.0 and [::], both listed, are two sockets."""
    found = seen_by("--listen", "-p", "0.0.0.0:80", "-p", "[::]:80")
    assert found["fds"][3] == ["AF_INET", "SOCK_STREAM", "0.0.0.0", 80, 1, None]
    assert found["fds"][4] == ["AF_INET6", "SOCK_STREAM", "::", 80, 1, 1]


def test_half_a_grant():
    """If :: is not granted, the socket takes only IPv4, with a note that -q silences."""
    rules(f"byuser/{UID}", "0.0.0.0/0,80")
    done = pybind("--listen", "-p", "80", "sh", "-c", "readlink /proc/self/fd/3")
    assert done.stdout.startswith("socket:")
    assert f"pybind: note: nobody (uid {UID}) may not bind [::]:80/tcp" in done.stderr
    assert "the socket is for IPv4 alone" in done.stderr
    found = seen_by("-q", "--listen", "-p", "80")
    assert found["fds"][3] == ["AF_INET", "SOCK_STREAM", "0.0.0.0", 80, 1, None]
    rules(f"byuser/{UID}", "::/0,80")
    done = pybind("--listen", "-p", "80", "true")
    assert done.returncode == 125
    assert done.stderr.startswith(f"pybind: nobody (uid {UID}) may not bind port 80/tcp")


def test_unprivileged_without_grant():
    """An unprivileged port needs no grant, and is one socket for both families."""
    found = seen_by("--listen", "-p", "8080", "-p", "5353/udp")
    assert found["fds"][3] == ["AF_INET6", "SOCK_STREAM", "::", 8080, 1, 0]
    assert found["fds"][4] == ["AF_INET6", "SOCK_DGRAM", "::", 5353, 0, 0]


def test_backlog(granted):
    """The backlog is 4096 or that of --backlog, but at most the kernel's limit."""
    argv = ["-p", "80", "ss", "-Hltn"]
    with setting("net/core/somaxconn", 4096):
        assert pybind("--listen", *argv).stdout.split()[2] == "4096"
        assert pybind("--listen", "--backlog", "7", *argv).stdout.split()[2] == "7"
        assert pybind("--inetd", "--backlog", "7", *argv).stdout.split()[2] == "7"
    with setting("net/core/somaxconn", 100):
        assert pybind("--listen", *argv).stdout.split()[2] == "100"


def test_many_with_a_directory_as_input(granted):
    """The starter keeps a directory above 9, where no socket overwrites it."""
    ports = [word for port in range(9001, 9013) for word in ("-p", str(port))]
    script = 'exec "$0" "$@" </etc'
    argv = [PYBIND, "--listen", *ports, "ls", "-l", "/proc/self/fd"]
    done = support.run(["sh", "-c", script, *argv])
    lines = {line.split()[8]: line.split()[-1] for line in done.stdout.splitlines()[1:]}
    assert lines.pop("0") == "/etc"
    assert all(lines[str(fd)].startswith("socket:") for fd in range(3, 15))
    assert "socket" not in lines["15"]


def test_beside_binds_of_its_own(granted):
    """A pybind inside of --listen serves the program's own binds; one outside only narrows."""
    code = ("import os, socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 443));"
            "print(os.environ['LISTEN_PID'] == str(os.getpid()),"
            "      socket.socket(fileno=3).getsockname()[1])")  # fmt: skip
    inside = [PYBIND, "-p", "443", "--", *PYTHON, code]
    assert pybind("--listen", "-p", "80", "--", *inside).stdout == "True 80\n"
    supervised = [PYBIND, "--mode", "supervise", "-p", "443", "--", *PYTHON, code]
    assert pybind("--listen", "-p", "80", "--", *supervised).stdout == "True 80\n"
    outside = ["-p", "80/tcp", "--", PYBIND, "--listen", "-p"]
    assert pybind(*outside, "80", "true").returncode == 0
    done = pybind(*outside, "443", "true")
    assert done.returncode == 125
    assert "not among the ports of the pybind that started this one" in done.stderr


def test_verbose(granted):
    """-v names the file that granted, and how the program is served."""
    told = pybind("-v", "--listen", "-p", "80", "-p", "443", "true").stderr
    assert f"[::]:80/tcp: granted (/etc/pybind/byuser/{UID} line 1)" in told
    assert "given listening sockets (descriptors 3 to 4)" in told
    assert "(descriptor 0)" in pybind("-v", "--inetd", "-p", "80", "true").stderr


def test_as_another_user(granted):
    """With --user the user's grants count: a port that only root may bind is refused."""
    argv = [PYBIND, "--listen", "--port", "80", "--user"]
    options = {"capture_output": True, "text": True, "cwd": "/", "timeout": support.PATIENCE_S}
    refused = subprocess.run([*argv, f"{OTHER_UID}:{OTHER_UID}", "true"], **options)
    assert refused.returncode == 125
    assert f"uid {OTHER_UID} may not bind" in refused.stderr
    see = [*argv, "nobody", "--", "ss", "-Hltnpe"]
    assert f"uid:{UID}" in subprocess.run(see, **options).stdout
    mine = subprocess.run([*argv[:-1], "true"], **options)
    assert (mine.returncode, mine.stderr) == (0, "")


def manual_loop():
    """Return the script of the restart loop that pybind(1) shows."""
    page = (support.REPOSITORY / "man" / "pybind.1").read_text()
    script = re.search(r"-- sh -c '\n(.*?)'\n\.Ed", page, re.S)[1]
    return script.replace("\\e", "\\")


ONCE = """#!/usr/bin/python3
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid())
sock, _ = socket.socket(fileno=3).accept()
sock.sendall(b"%d" % os.getpid())
"""


def test_restart_loop_of_the_manual(granted):
    """In the loop of pybind(1) a new server serves each connection, and none is refused."""
    folder = support.scratch_dir()
    (folder / "server").write_text(ONCE)
    (folder / "server").chmod(0o755)
    argv = [PYBIND, "--listen", "--port", "80", "--", "sh", "-c", manual_loop().replace("1", "0")]

    def answer():
        with socket.create_connection(("127.0.0.1", 80), support.PATIENCE_S) as client:
            return client.recv(100)

    def listens():
        with contextlib.closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", 80)) == 0

    with support.server(argv, ready=listens, cwd=folder):
        answers = {answer() for _ in range(4)}
        assert len(answers) == 4
        other = support.run([PYBIND, "-p", "80", "true"])
        assert other.returncode == 125
        assert f"held by nobody (uid {UID})" in other.stderr
