# SPDX-License-Identifier: GPL-3.0-or-later
"""A bind that another thread holds up between the judgement and its end: case 73.

The kernel lets go of the socket's lock in between. setsockopt(2) takes the lock and then
reads an option from memory, which userfaultfd(2) holds back as long as the program likes.
"""

import contextlib
import errno
import subprocess

import support
from running import USER
from support import CONFIG, flag, rules

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
