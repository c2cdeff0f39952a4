/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * executes MARK: binds and calls execve(2) in several threads at once.  The stand-in
 * for the helper waits until a file MARK exists, and then refuses.
 *
 * One thread binds.  A second thread executes a missing file, and waits for the
 * first.  A third thread binds, and waits for the second.  A child that is forked
 * then has none of these threads, and waits for nobody.  After MARK all go on.
 */
#include "../../../programs/src/common.h"

#include <fcntl.h>
#include <sys/syscall.h>

extern char **environ;
static _Atomic int executed;

static pid_t own_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static void refused(int last)
{
    struct sockaddr_in wanted = loopback(last, 80);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0);
    REQUIRE(bind(fd, (struct sockaddr *)&wanted, sizeof wanted) == -1 && errno == EACCES);
    REQUIRE(close(fd) == 0);
}

static void *binder(void *id)
{
    *(_Atomic pid_t *)id = own_id();
    refused(1);
    return NULL;
}

static void execute_nothing(void)
{
    char *argv[] = {"nothing", NULL};

    REQUIRE(execve("/nothing/here", argv, environ) == -1 && errno == ENOENT);
}

static void *executor(void *id)
{
    *(_Atomic pid_t *)id = own_id();
    execute_nothing();
    executed = 1;
    return NULL;
}

static pthread_t start(void *(*work)(void *), _Atomic pid_t *id)
{
    pthread_t thread;

    REQUIRE(pthread_create(&thread, NULL, work, id) == 0);
    while (!*id)
        ;
    return thread;
}

/* Returns the number at the start of a file of the thread in /proc, or 0. */
static long number_in(pid_t id, const char *name)
{
    char path[64], text[128];
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", (int)id, (int)id, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && (got = read(fd, text, sizeof text - 1)) >= 0 && close(fd) == 0);
    text[got] = '\0';
    return strtol(text, NULL, 10);
}

int main(int argc, char **argv)
{
    _Atomic pid_t first = 0, second = 0, third = 0;
    pthread_t threads[3];
    int status, fd, end[2];
    char none;

    REQUIRE(argc == 2 && pipe(end) == 0);
    threads[0] = start(binder, &first);
    while (number_in(first, "children") == 0)
        ;
    threads[1] = start(executor, &second);
    while (number_in(second, "syscall") != SYS_futex)
        ;
    threads[2] = start(binder, &third);
    while (number_in(third, "syscall") != SYS_nanosleep)
        ;
    pid_t child = fork();
    if (child == 0) {
        execute_nothing();
        exit(0);
    }
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    child = fork();
    if (child == 0) {
        refused(2);
        /* One process at a time may end, because each writes the counters of coverage. */
        REQUIRE(close(end[1]) == 0 && read(end[0], &none, 1) == 0);
        exit(0);
    }
    REQUIRE(child > 0);
    while (number_in(child, "children") == 0)
        ;
    REQUIRE(!executed && number_in(third, "children") == 0);
    fd = open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && close(fd) == 0);
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    REQUIRE(close(end[1]) == 0 && waitpid(child, &status, 0) == child && status == 0);
    return 0;
}
