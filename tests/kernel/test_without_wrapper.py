# SPDX-License-Identifier: GPL-3.0-or-later
"""Real programs that the user nobody starts without pybind, while pybindd runs.

Each program serves on port 80, which is granted. On port 81, which is not, each gets
EACCES: the program says so, and so does pybindd's log.
"""

import json
import os
import re
import socket

import launching
import pytest
import supervising
import support
from running import bind_by_uring
from support import UID, flag, rules

GRANTED, REFUSED = 80, 81
EACCES = re.compile(r"permission denied|EACCES", re.IGNORECASE)
RESERVED = (600, 1023)  # the ports that bindresvport(3) tries
# Stands in for pm2 and the like: a process that starts a program on request, as the same user.
MANAGER = """
import json, os, socket, subprocess, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + '.new')
listener.listen()
os.rename(sys.argv[1] + '.new', sys.argv[1])
while True:
    client, _ = listener.accept()
    with client:
        argv, log = json.loads(client.recv(65536))
        with open(log, "w") as file:
            child = subprocess.Popen(argv, stdout=file, stderr=file, start_new_session=True)
        client.send(b"%d" % child.pid)
"""


@pytest.fixture
def place(daemon):
    """Return the options that start a program in the control group that pybindd serves."""
    procs = daemon.cgroup / "cgroup.procs"
    return {"preexec_fn": lambda: procs.write_text("0")}


def grant(daemon):
    """Grant port 80 to UID, and wait until the grant is in force."""
    rules(f"byuser/{UID}", f"any,{GRANTED}")
    daemon.sync()


def in_log(daemon, word, port=REFUSED, ip="tcp"):
    """Wait until pybindd's log has such a verdict on UID and this port."""
    pattern = re.compile(rf"{word} uid={UID}( userns=other)? {ip} \S+:{port} ")
    support.wait_for(lambda: pattern.search(daemon.log), f"{pattern.pattern!r} in the log")


def assert_refused(daemon, argv, place, **options):
    """Run a program that wants port 81 to its end; check that program and log say `refused`."""
    done = support.run(argv, **place, **options)
    assert EACCES.search(done.stdout + done.stderr), done
    in_log(daemon, "refused")


def assert_both(daemon, place, start, body, path="/", **options):
    """Start a program on each port. start: port -> its argv. body: its answer, or a pattern."""
    grant(daemon)
    assert_refused(daemon, start(REFUSED), place, **options)
    with support.server(start(GRANTED), ready=support.answers_http, **place, **options) as process:
        answer = support.http_get(path=path).decode()
        assert re.fullmatch(body, answer), (answer, process.log.read_text())
    in_log(daemon, "granted", GRANTED)


@pytest.mark.program("Java HttpServer", "/usr/bin/java")
def test_java(daemon, place):
    """`java -jar app.jar` answers."""
    assert_both(daemon, place, launching.java_jar, "java http")


@pytest.mark.program("nginx", "nginx-light")
def test_nginx(daemon, place):
    """nginx with two workers answers."""
    start = lambda port: launching.nginx(support.scratch_dir(), "one", port)  # noqa: E731
    assert_both(daemon, place, start, "one")


@pytest.mark.program("Node.js cluster", "nodejs")
def test_node_cluster(daemon, place):
    """A worker of a Node cluster answers."""
    assert_both(daemon, place, launching.node_cluster, r"node \d+")


@pytest.mark.program("Go net/http", "golang-go")
def test_go(daemon, place):
    """A Go net/http server, built without cgo, answers."""
    assert_both(daemon, place, lambda port: [launching.go_server(), port], "go net/http")


@pytest.mark.program("Go with cgo", "golang-go")
def test_cgo(daemon, place):
    """A Go server with cgo answers."""
    assert_both(daemon, place, lambda port: [launching.cgo_server(), port], "cgo")


@pytest.mark.program("Caddy", "caddy")
def test_caddy(daemon, place):
    """Debian's caddy answers."""
    environ = launching.caddy("respond")[1]
    assert_both(
        daemon, place, lambda port: launching.caddy("respond", port)[0], "caddy", env=environ
    )


@pytest.mark.program("busybox httpd", "busybox-static")
def test_busybox_httpd(daemon, place):
    """The web server of Debian's busybox-static answers with a file."""
    assert_both(daemon, place, launching.busybox_httpd, "busybox", path="/hello")


@pytest.mark.program("server.c, static musl")
def test_static_musl(daemon, place):
    """A static program of musl answers."""
    assert_both(daemon, place, lambda port: [launching.server_musl(), "bind", port], "bind 6 80")


@pytest.mark.program("server.c, MPTCP")
def test_mptcp(daemon, place):
    """An MPTCP server answers."""
    assert_both(daemon, place, lambda port: [launching.server(), "mptcp", port], "mptcp 262 80")


@pytest.mark.program("server.c, i386")
@pytest.mark.parametrize("how", ["bind", "socketcall"])
def test_program_of_32_bits(daemon, place, how):
    """An i386 program answers, by bind's own system call and by socketcall."""
    program = launching.server32()
    launching.skip_unless_machine_can(program, how)
    assert_both(daemon, place, lambda port: [program, how, port], f"{how} 6 80")


@pytest.mark.program("server.c, bindresvport")
def test_bindresvport(daemon, place):
    """glibc's bindresvport gets a port of 600 to 1023 where ! entries grant them, else EACCES."""
    argv = [launching.server(), "bindresvport"]
    done = support.run(argv, **place)
    assert done.returncode != 0
    assert EACCES.search(done.stderr), done
    rules(f"byuser/!{UID}", "any,{}-{}".format(*RESERVED))
    daemon.sync()
    log = support.scratch_dir() / "log"
    with log.open("wb") as file:
        process = support.as_user(argv, stdout=file, stderr=file, **place)
    try:
        support.wait_for(lambda: b"\n" in log.read_bytes(), "bindresvport to bind")
        port = int(log.read_text().split()[-1])
        assert RESERVED[0] <= port <= RESERVED[1]
        assert support.http_get(port=port).decode() == f"bindresvport 6 {port}"
    finally:
        process.terminate()
        supervising.end(process)
    in_log(daemon, "granted", port)


@pytest.mark.program("uring.c")
def test_io_uring(daemon):
    """A bind through io_uring is granted."""
    grant(daemon)
    assert bind_by_uring(daemon, "plain", str(GRANTED)) == 0
    assert os.strerror(bind_by_uring(daemon, "plain", str(REFUSED))) == "Permission denied"
    in_log(daemon, "refused")


# (words before the server, the package of their command)
AROUND = {
    "no_new_privs": (["setpriv", "--no-new-privs"], "util-linux"),
    "strace": (["strace", "-f", "-o", "/dev/null"], "strace"),
    "bwrap": (["bwrap", "--dev-bind", "/", "/", "--die-with-parent"], "bubblewrap"),
    "user namespace": (["unshare", "--user", "--map-root-user"], "util-linux"),
}


@pytest.mark.program("server.c, in a sandbox")
@pytest.mark.parametrize("around", AROUND)
def test_sandboxes(daemon, place, around):
    """Under no_new_privs, `strace -f`, bwrap, and in a user namespace of its own, it answers."""
    words, package = AROUND[around]
    launching.need(words[0], package)
    if around in ("bwrap", "user namespace"):
        skip_without_namespaces([*words, "true"])
    assert_both(daemon, place, lambda port: [*words, launching.server(), "bind", port], "bind 6 80")


def skip_without_namespaces(argv):
    """Skip if the system allows a user no namespaces."""
    done = support.run(argv)
    if done.returncode != 0:
        pytest.skip(f"this system allows a user no namespaces: {done.stderr.strip()}")


@pytest.mark.parametrize("around", ["bwrap", "user namespace"])
def test_sandbox_and_the_others_of_a_flag_file(daemon, place, around):
    """A flag file's grant to all others counts only outside of an own user namespace."""
    words = AROUND[around][0]
    skip_without_namespaces([*words, "true"])
    grant(daemon)
    flag(f"byport/{REFUSED}", gid=0, mode=0o755)
    daemon.sync()
    server = [launching.server(), "bind", REFUSED]
    with support.server(server, ready=lambda: support.answers_http(port=REFUSED), **place):
        assert support.http_get(port=REFUSED) == b"bind 6 81"
    assert_refused(daemon, [*words, *server], place)


@pytest.mark.program("server.c, after chroot")
def test_chroot(daemon, place):
    """A static program in a chroot without any file of the host's answers."""
    root = support.scratch_dir()
    root.chmod(0o755)
    program = root / "server"
    program.write_bytes(launching.server("-static").read_bytes())
    program.chmod(0o755)
    words = ["chroot", f"--userspec={UID}:{support.GID}", "--groups=", root, "/server", "bind"]
    # Root makes the chroot; chroot(1) becomes UID before it executes the program.
    assert_both(daemon, place, lambda port: [*words, port], "bind 6 80", uid=0, gid=0)


@pytest.mark.program("start script")
def test_script_that_replaces_ld_preload(daemon, place):
    """A start script that sets LD_PRELOAD to a library of its own has its server answer."""
    library = launching.build_library("WRAPS")
    script = support.scratch_dir() / "start"
    script.write_text(f'#!/bin/sh\nLD_PRELOAD={library}\nexport LD_PRELOAD\nexec "$@"\n')
    script.chmod(0o755)
    start = lambda port: [script, launching.server(), "bind", port]  # noqa: E731
    assert_both(daemon, place, start, "bind 6 80")


def started_earlier(daemon, tell):
    """Grant port 80, and let a process that already runs start a server on each port.

    tell: a function that makes this process start argv, with its output in a file.
    """
    folder = support.scratch_dir()
    grant(daemon)
    for port in (REFUSED, GRANTED):
        tell([str(launching.server()), "bind", str(port)], folder / str(port))
    said = folder / str(REFUSED)
    support.wait_for(lambda: said.exists() and EACCES.search(said.read_text()), "EACCES on port 81")
    in_log(daemon, "refused")
    support.wait_for(support.answers_http, "the server to answer")
    assert support.http_get() == b"bind 6 80"
    in_log(daemon, "granted", GRANTED)


@pytest.mark.program("tmux", "tmux")
def test_tmux(daemon, place):
    """A tmux server that ran before the grant starts a program in a new window, and it answers."""
    folder = support.scratch_dir()
    tmux = [launching.need("tmux", "tmux"), "-f", "/dev/null", "-S", folder / "socket"]
    environ = {**os.environ, "SHELL": "/bin/sh", "TERM": "screen"}

    def told(*words):
        done = support.run([*tmux, *words], env=environ, **place)
        assert done.returncode == 0, done

    told("new-session", "-d", "sleep 1000")
    try:
        started_earlier(
            daemon, lambda argv, log: told("new-window", f"exec {' '.join(argv)} >{log} 2>&1")
        )
    finally:
        told("kill-server")


@pytest.mark.program("process manager")
def test_process_manager(daemon, place):
    """A daemon like pm2's that ran before the grant starts a program, and it answers."""
    path = support.scratch_dir() / "socket"
    started = []

    def tell(argv, log):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.send(json.dumps([argv, str(log)]).encode())
            started.append(int(client.recv(100)))

    with support.server(["/usr/bin/python3", "-c", MANAGER, path], ready=path.exists, **place):
        try:
            started_earlier(daemon, tell)
        finally:
            supervising.kill_all(started)
