# SPDX-License-Identifier: GPL-3.0-or-later
"""pybind(1) while pybindd runs: no supervisor is needed, the preload library is a fallback."""

import os
import pathlib
import subprocess

import pytest
import running
import support
from support import PYBIND, rules

ASKED = """
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
/* Binds 127.0.0.1:80 once for each line of its input, prints the errno and its parent. */
int main(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(80)};
    char line[80];
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (fgets(line, sizeof line, stdin)) {
        int sock = socket(AF_INET, SOCK_STREAM, 0);
        int error = bind(sock, (struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno;
        printf("%d %d\\n", error, getppid());
        fflush(stdout);
        close(sock);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def programs():
    """Return the program, linked dynamically and statically."""
    return {"dynamic": support.compile_c(ASKED), "static": support.compile_c(ASKED, "-static")}


def enter(cgroup):
    """Return shell code that moves the shell into a control group."""
    return ["sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", str(cgroup)]


class Program:
    """A program under pybind -v in the control group, which binds for each line that it reads."""

    def __init__(self, cgroup, *argv):
        drop = ["setpriv", "--reuid", str(support.UID), "--regid", str(support.GID)]
        command = [*enter(cgroup), *drop, "--clear-groups", "--inh-caps=-all", "env", PYBIND, "-v"]
        self._told = pathlib.Path(support.scratch_dir(), "stderr")
        with self._told.open("w") as stderr:
            self.process = subprocess.Popen(
                [*command, *map(str, argv)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd="/",
            )  # fmt: skip

    @property
    def told(self):
        """Return the messages of pybind."""
        return self._told.read_text()

    def bind(self):
        """Bind once; return (errno, whether the started process itself is the program)."""
        self.process.stdin.write("bind\n")
        self.process.stdin.flush()
        error, parent = map(int, self.process.stdout.readline().split())
        return error, parent == os.getpid()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(support.PATIENCE_S)
        self.process.stdout.close()


@pytest.mark.parametrize("listed", [["--port", "80"], []], ids=["listed", "not listed"])
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_no_supervisor_is_needed(daemon, programs, kind, listed):
    """Both programs bind as the started process, without a supervisor, and -v says why."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    with Program(daemon.cgroup, *listed, "--", programs[kind]) as program:
        assert program.bind() == (0, True)
        assert "supervisor" not in program.told
        assert "without a grant" not in program.told
        granted = "0.0.0.0:80/tcp: granted (pybindd has the kernel judge by the permission files)"
        assert (granted in program.told) == bool(listed)
        if kind == "static":
            assert (
                "started plainly; pybindd lets the kernel judge the program's binds" in program.told
            )
        elif listed:
            assert "the preload library serves while pybindd restarts" in program.told


def test_the_library_carries_over_a_restart(daemon, programs):
    """After pybindd is killed, the helper serves the dynamic program."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    with Program(daemon.cgroup, "--port", "80", "--", programs["dynamic"]) as program:
        assert program.bind() == (0, True)
        daemon.process.kill()
        daemon.process.wait()
        with running.worker(daemon.cgroup) as other:
            support.wait_for(lambda: not other.may(), "the kernel to judge no more")
        assert program.bind() == (0, True)
        assert "bind of port 80/tcp (IPv4): granted" in program.told


def test_a_port_that_needs_no_grant(daemon, programs):
    """While pybindd runs, a port from 1024 on is still called what it is."""
    with Program(daemon.cgroup, "--port", "8080", "--", programs["dynamic"]) as program:
        program.bind()
        assert "0.0.0.0:8080/tcp: granted (the kernel allows it without a grant)" in program.told


def test_another_control_group_is_supervised(daemon, programs):
    """A static program outside of pybindd's control group still gets the supervisor."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    done = support.pybind("-v", "--", programs["static"], input="bind\n")
    assert done.stdout.startswith("0 ")
    assert "served by a supervisor" in done.stderr


def test_a_file_left_to_the_helper(daemon, programs):
    """For a file that the table leaves to the helper (two links) the supervisor serves."""
    path = rules(f"byuser/{support.UID}", "any,80")
    path.with_name("65533").hardlink_to(path)
    assert daemon.sync()["left_count"] == 2
    with Program(daemon.cgroup, "--", programs["static"]) as program:
        assert program.bind() == (0, False)
        assert "served by a supervisor" in program.told


def test_refused_as_ever(daemon, programs):
    """Without a grant pybind refuses before the start."""
    daemon.sync()
    with Program(daemon.cgroup, "--port", "80", "--", programs["static"]) as program:
        assert program.process.wait(support.PATIENCE_S) == 125
    assert "80/tcp" in program.told
