# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs at the same hooks: case 78."""

import ctypes
import errno
import os

import cgroups
import printed
import pytest
import running
import support
from running import run_in, run_pybindd, take_places, worker
from support import flag, rules

CGROUP_INET4_BIND = 8  # enum bpf_attach_type


def test_case_78_denied(daemon, user, others):
    """A bind that another program denies stays denied."""
    flag("byport/80")
    daemon.sync()
    assert user.may()
    with others.attached("denies", daemon.cgroup):
        assert user.bind() == errno.EPERM
    with others.attached("allows", daemon.cgroup):
        assert user.may()
    assert user.may()


@pytest.mark.parametrize("name", ["rewrites_port", "rewrites_address"])
def test_case_78_rewritten(daemon, user, others, name):
    """If another program rewrites the judged address, bind(2) fails with EPERM."""
    rules(f"byuser/{support.UID}", "127.0.0.1,80")
    daemon.sync()
    with others.attached(name, daemon.cgroup):
        assert user.bind() == errno.EPERM
        assert user.bind("127.0.0.1", 22) == errno.EACCES
    assert user.may()
    support.wait_for(lambda: "after it was judged" in daemon.log, "the log's reason")


def test_case_78_rewritten_with_no_place_for_a_note(daemon, user, others):
    """When threads took every place for a note, the socket keeps the note, and all is the same."""
    rules(f"byuser/{support.UID}", "127.0.0.1,80")
    daemon.sync()
    with others.attached("grants", daemon.cgroup):
        # No other thread's note is held against a bind.
        assert take_places(daemon, port=82) == 0
        assert user.bind("127.0.0.1", 82) == 0
    with others.attached("rewrites_port", daemon.cgroup):
        # The threads have used up the user's share of the log for this second.
        logged = lambda: user.bind() == errno.EPERM and "after it was judged" in daemon.log  # noqa: E731
        support.wait_for(logged, "the log's reason")
    assert user.may()


def test_case_78_rewritten_mapped(daemon, user, others):
    """The same holds for a v4-mapped address."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    with others.attached("rewrites_port6", daemon.cgroup):
        assert user.bind("::1") == errno.EPERM
        assert user.bind("::ffff:127.0.0.1") == errno.EPERM
    assert user.may("::1")


def test_case_78_rewritten_before(others):
    """If a program rewrites the address before ours runs, ours judges the new address."""
    with cgroups.group() as cgroup, others.attached("rewrites_port", cgroup):
        daemon = running.Pybindd(cgroup)
        try:
            flag("byport/80")
            daemon.sync()
            with worker(cgroup) as user:
                assert user.bind() in (errno.EACCES, errno.EPERM)
                flag("byport/22")
                (support.CONFIG / "byport/80").unlink()
                daemon.sync()
                error = user.call(_bind_wherever)
                assert error in ((0, 22), (errno.EACCES, 0), (errno.EPERM, 0))
        finally:
            daemon.stop()


def _bind_wherever():
    import socket

    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", 80))
        except OSError as error:
            return error.errno, sock.getsockname()[1]
        return 0, sock.getsockname()[1]


@pytest.mark.parametrize("places", ["free", "taken"])
@pytest.mark.parametrize("other", ["127.0.0.1,80", "192.0.2.1,0"])
def test_case_78_rewritten_while_two_bind(daemon, others, other, places):
    """Two threads bind one socket under a rewriter: an ungranted port is never bound.

    other: where the second thread binds: the same, or an address that is not of this host.
    """
    rules(f"byuser/{support.UID}", "127.0.0.1,80")
    daemon.sync()
    if places == "taken":
        take_places(daemon)
    address, _, port = other.partition(",")
    where = [f'-DADDRESS="{address}"', f"-DPORT={port}"]
    program = support.compile_c(RACE, "-pthread", *where)
    with others.attached("rewrites_port", daemon.cgroup):
        said = run_in(daemon.cgroup, [program])
    bound, refused = map(int, said.split())
    assert bound == 0
    assert refused > 0


RACE = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static int fd;
static volatile int ended;
static int bind_to(const char *address, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_aton(address, &a.sin_addr);
    return bind(fd, (void *)&a, sizeof a);
}
static void *other(void *unused)
{
    while (!ended)
        bind_to(ADDRESS, PORT);
    return unused;
}
int main(void)
{
    int wrong = 0, refused = 0;
    pthread_t thread;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    pthread_create(&thread, 0, other, 0);
    for (int i = 0; i < 100000; i++) {
        struct sockaddr_in a = {0};
        socklen_t len = sizeof a;
        refused += bind_to("127.0.0.1", 80) != 0 && errno == EPERM;
        getsockname(fd, (void *)&a, &len);
        if (a.sin_port != 0) {
            int next = socket(AF_INET, SOCK_STREAM, 0);
            wrong++;
            dup2(next, fd);
            close(next);
        }
    }
    ended = 1;
    pthread_join(thread, 0);
    printf("%d %d\n", wrong, refused);
}
"""


def test_case_78_granted_by_another(daemon, user, others):
    """A grant of another program works as without pybindd, also on a socket judged by us."""
    flag("byport/81")
    daemon.sync()
    with others.attached("grants", daemon.cgroup):
        assert user.bind() == 0
    assert user.bind() == errno.EACCES


def test_case_78_landlock(daemon):
    """A Landlock sandbox that forbids the bind still refuses it."""
    flag("byport/80", mode=0o755)
    daemon.sync()
    source = support.REPOSITORY / "tests/proof/hostile/src/landlocked.c"
    include = f"-I{support.REPOSITORY / 'tests/proof/hostile/src'}"
    more = f"-I{support.REPOSITORY / 'tests/programs/src'}"
    program = support.compile_c(source.read_text(), include, more)
    said = run_in(daemon.cgroup, [program])
    if said == "none\n":
        pytest.skip("this kernel has no Landlock for ports")
    assert said.split() == [str(errno.EACCES), "0", str(errno.EACCES), "0"]


def test_case_78_exclusive(others):
    """If a program allows no other beside it, pybindd says so and ends."""
    with cgroups.group() as cgroup:
        below = cgroup / "below"
        below.mkdir()
        library, program = ctypes.CDLL("libbpf.so.1"), others.program("allows")
        fd = os.open(cgroup, os.O_RDONLY)
        try:
            assert library.bpf_prog_attach(program, fd, CGROUP_INET4_BIND, 0) == 0
            done = run_pybindd("--cgroup", below)
            assert done.returncode == 3
            assert "is attached that allows no other beside it" in done.stderr
            name = "obstacles.not_attached: sudo bpftool cgroup tree ..."
            printed.typed(done.stderr, name)
            assert library.bpf_prog_detach2(program, fd, CGROUP_INET4_BIND) == 0
        finally:
            os.close(fd)
