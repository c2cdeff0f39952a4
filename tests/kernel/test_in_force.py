# SPDX-License-Identifier: GPL-3.0-or-later
"""An administrator changes the files: the kernel's answer after each change.

A change counts also for a bind that another thread holds up between the judgement and its end:
case 73. The kernel lets go of the socket's lock in between. setsockopt(2) takes the lock and
then reads an option from memory, which userfaultfd(2) holds back as long as the program likes.
"""

import contextlib
import errno
import os
import subprocess

import pytest
import support
from running import OTHER, USER, worker
from support import CONFIG, flag, rules

from pybind import pybindd as client


def _typed(*words):
    subprocess.run(list(map(str, words)), check=True)


def test_grant_and_revoke(daemon, user):
    """grant and revoke are in force when sync returns."""
    assert not user.may()
    path = flag("byport/80")
    daemon.sync()
    assert user.may()
    assert not user.may("127.0.0.1", 81)
    path.unlink()
    daemon.sync()
    assert not user.may()


def test_without_asking(daemon, user):
    """A change takes effect even if nobody waits for it."""
    flag("byport/80")
    support.wait_for(user.may, "a grant")
    (CONFIG / "byport/80").unlink()
    support.wait_for(lambda: not user.may(), "no grant")


# (files before, typed command, whether the user may bind afterwards)
CHANGES = {
    "chmod": (lambda: flag("byport/80"), ["chmod", "0700", CONFIG / "byport/80"], False),
    "chmod-back": (
        lambda: flag("byport/80", mode=0),
        ["chmod", "0750", CONFIG / "byport/80"],
        True,
    ),
    "chown": (lambda: flag("byport/80"), ["chown", "0:0", CONFIG / "byport/80"], False),
    "rm": (lambda: flag("byport/80"), ["rm", CONFIG / "byport/80"], False),
    "setfacl": (
        lambda: flag("byport/80", mode=0o700),
        ["setfacl", "-m", f"u:{support.UID}:x", CONFIG / "byport/80"],
        True,
    ),
    "setfacl-off": (
        lambda: flag("byport/80"),
        ["setfacl", "-m", f"u:{support.UID}:-", CONFIG / "byport/80"],
        False,
    ),
    "append": (
        lambda: rules(f"byuser/{support.UID}", "any,81"),
        ["sh", "-c", f"echo any,80 >>{CONFIG}/byuser/{support.UID}"],
        True,
    ),
    "edit": (
        lambda: rules(f"byuser/{support.UID}", "any,80"),
        ["sed", "-i", "s/80/81/", CONFIG / f"byuser/{support.UID}"],
        False,
    ),
    "break": (
        lambda: rules(f"byuser/{support.UID}", "any,80"),
        ["sh", "-c", f"echo any,8o >>{CONFIG}/byuser/{support.UID}"],
        False,
    ),
    "truncate": (
        lambda: rules(f"bygroup/{support.GID}", "any,80"),
        ["truncate", "-s", "0", CONFIG / f"bygroup/{support.GID}"],
        False,
    ),
    "rename-in": (
        lambda: flag("byport/x"),
        ["mv", CONFIG / "byport/x", CONFIG / "byport/80"],
        True,
    ),
    "rename-out": (lambda: flag("byport/80"), ["mv", CONFIG / "byport/80", "/etc/80"], False),
    "folder-away": (lambda: flag("byport/80"), ["mv", CONFIG, "/etc/pybind.old"], False),
    "folder-of-four": (
        lambda: flag("byport/80"),
        ["mv", CONFIG / "byport", CONFIG / "byport.old"],
        False,
    ),
    "folder-writable": (lambda: flag("byport/80"), ["chmod", "0777", CONFIG / "byaddr"], False),
    "etc-writable": (lambda: flag("byport/80"), ["chmod", "g+w", "/etc"], False),
    "folder-given": (lambda: flag("byport/80"), ["chown", "1", CONFIG], False),
    "symlink": (
        lambda: flag("byport/80"),
        ["sh", "-c", f"cd {CONFIG}/byport && mv 80 /etc/80 && ln -s /etc/80 80"],
        False,
    ),
    "own-acl-folder": (
        lambda: flag("byport/80"),
        ["setfacl", "-m", f"u:{support.UID}:-", CONFIG],
        False,
    ),
}


@pytest.fixture
def etc():
    """Restore /etc after the test."""
    yield
    os.chmod("/etc", 0o755)
    for name in ("80", "pybind.old"):
        _typed("rm", "-rf", f"/etc/{name}")
    _typed("setfacl", "-b", "/etc")


@pytest.mark.parametrize("name", CHANGES)
def test_change(daemon, user, etc, name):
    """The typed command is in force when sync returns."""
    prepare, command, granted = CHANGES[name]
    prepare()
    before = daemon.sync()
    assert user.may() != granted
    _typed(*command)
    after = daemon.sync()
    assert user.may() == granted, daemon.log
    assert after["table"] > before["table"]


def test_many_files(daemon, user):
    """A thousand files take effect together, and end together."""
    for port in range(1, 512):
        flag(f"byport/{port}")
    for port in range(1, 512):
        flag(f"byaddr/127.0.0.1,{port},udp")
    said = daemon.sync()
    assert said["flag_files"] == 1022
    assert all(user.may("127.0.0.1", port) for port in (1, 80, 511))
    for port in range(1, 512):
        (CONFIG / f"byport/{port}").unlink()
    daemon.sync()
    assert not user.may("127.0.0.1", 80)
    assert user.may("127.0.0.1", 80, "udp")


def test_other_user(daemon, user):
    """A user's rule file grants nothing to another user."""
    rules(f"byuser/{support.UID}", "127.0.0.1,80/tcp")
    daemon.sync()
    with worker(daemon.cgroup, OTHER) as other:
        assert user.may()
        assert not other.may()
        assert not user.may("127.0.0.2")
        assert not user.may("127.0.0.1", 80, "udp")


def test_hangup_reads_again(daemon):
    """SIGHUP makes pybindd read all files again; without a change the table stays."""
    flag("byport/80")
    first = daemon.sync()
    daemon.process.send_signal(1)
    support.wait_for(lambda: client.sync()["table"] > first["table"], "another table")


def test_ends_cleanly(daemon, user):
    """After SIGTERM no grant and no file in /run but the lock remain; the status is 0."""
    flag("byport/80")
    daemon.sync()
    assert user.may()
    assert client.status()["in_force"]
    assert daemon.stop() == 0
    assert not user.may()
    assert client.status() is None
    assert client.sync() is None
    assert sorted(p.name for p in support.pathlib.Path("/run").glob("pybindd*")) == ["pybindd.lock"]


TRIES = 400  # one in some thirty is held up at the right moment, on a busy machine fewer
ROUNDS = 20


@contextlib.contextmanager
def held_up(cgroup):
    """Yield a function that lets all held-up binds go; returns {errno: number of binds}."""
    program = support.compile_c(HOLDER, "-pthread", f"-DTRIES={TRIES}")
    enter = 'ulimit -n 4096; echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
    command = ["sh", "-c", enter, "sh", str(cgroup), program, str(USER.uid), str(USER.gid)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            assert process.stdout.readline() == "held\n"

            def let_go():
                said, _ = process.communicate("\n", timeout=support.PATIENCE_S)
                found = list(map(int, said.split()))
                return {error: found.count(error) for error in set(found)}

            yield let_go
        finally:
            process.kill()


def test_case_73_revoked_while_held_up(daemon):
    """A bind that was judged before the revocation, and held up until after it, is refused."""
    for _ in range(ROUNDS):
        rules(f"byuser/{support.UID}", "any,80")
        daemon.sync()
        with held_up(daemon.cgroup) as let_go:
            (CONFIG / f"byuser/{support.UID}").unlink()
            daemon.sync()
            errors = let_go()
        assert 0 not in errors
        if errno.EPERM in errors:
            return
    raise AssertionError("no bind was held up between the judgement and its end")


def test_case_73_granted_anew_while_held_up(daemon):
    """A bind that both the old table and the new one grant is granted, however long it is held up."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    with held_up(daemon.cgroup) as let_go:
        flag("byport/81")
        daemon.sync()
        assert let_go().keys() == {0}


HOLDER = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#define PAGE 4096
static int fds[TRIES], errors[TRIES];
static char *pages;
static volatile long turn = -1;
static volatile int waiting;
static void wait_for_turn(long i)
{
    __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
    while (turn < i)
        ;
}
static void *binder(void *number)
{
    long i = (long)number;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(0x7f010000 + i)}};
    wait_for_turn(i);
    errors[i] = bind(fds[i], (void *)&a, sizeof a) ? errno : 0;
    return 0;
}
static void *holder(void *number)
{
    long i = (long)number;
    wait_for_turn(i);
    for (volatile int k = 0; k < i * 37 % 2000; k++)
        ;
    setsockopt(fds[i], IPPROTO_IP, IP_OPTIONS, pages + PAGE * i, 4);
    return 0;
}
int main(int count, char **words)
{
    static pthread_t threads[TRIES][2];
    static int held[TRIES];
    int uffd = syscall(SYS_userfaultfd, O_CLOEXEC); /* as root: a user may need a sysctl for it */
    int gid = count > 2 ? atoi(words[2]) : -1, uid = count > 2 ? atoi(words[1]) : -1;
    struct uffdio_api api = {.api = UFFD_API};
    pages = mmap(0, PAGE * TRIES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register all = {{(unsigned long)pages, PAGE * TRIES}, UFFDIO_REGISTER_MODE_MISSING};
    if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &all) ||
        setgroups(0, 0) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) {
        perror("holder");
        return 1;
    }
    for (long i = 0; i < TRIES; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        errors[i] = -1;
        waiting = 0;
        pthread_create(&threads[i][0], 0, binder, (void *)i);
        pthread_create(&threads[i][1], 0, holder, (void *)i);
        while (waiting < 2)
            sched_yield();
        turn = i;
        usleep(1500);
    }
    usleep(100000);
    for (int i = 0; i < TRIES; i++)
        held[i] = errors[i] == -1;
    puts("held");
    fflush(stdout);
    getchar();
    struct uffdio_zeropage zero = {.range = all.range};
    ioctl(uffd, UFFDIO_ZEROPAGE, &zero);
    for (int i = 0; i < TRIES; i++) {
        pthread_join(threads[i][0], 0);
        pthread_join(threads[i][1], 0);
        if (held[i])
            printf("%d ", errors[i]);
    }
}
"""
