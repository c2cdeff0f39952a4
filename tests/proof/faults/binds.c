/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * binds faulted [COUNT [subreaper|high|blocked]]: binds 127.80.0.1:80 while a test
 * makes a step fail, and prints "bound" or the errno.  Exits with 1 if bind and the
 * socket disagree, or if a descriptor, child, signal or changed mask is left.  Then
 * COUNT more binds (default 1) must all succeed.  high: the socket is descriptor 10.
 * blocked: all signals may be blocked afterwards.
 *
 * binds again|held|forked PORT: binds while the process of another thread's bind has
 * copies of the descriptors.  A test delays that process before it closes the copies.
 * again: closes a listening socket of PORT, and binds PORT again.  held: the same,
 * but the copy stays so long that the bind gives up.  forked: a forked child binds a
 * busy port; it has the count of the thread's bind, but not the thread.
 *
 * binds executes MARK: binds and calls execve(2) in several threads at once.  The
 * stand-in for the helper waits until a file MARK exists, and then refuses.
 */
#include "../../programs/src/common.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

extern char **environ;

/* One bind, in which a step fails. */

static int may_block;

/* Uses only calls that the library does not make, so that no fault hits them. */
static int descriptors(void)
{
    struct pollfd all[64];
    int count = 64;

    for (int fd = 0; fd < 64; fd++)
        all[fd] = (struct pollfd){.fd = fd};
    REQUIRE(poll(all, 64, 0) >= 0);
    for (int fd = 0; fd < 64; fd++)
        count -= (all[fd].revents & POLLNVAL) != 0;
    return count;
}

static void check_world(const sigset_t *mask, int count)
{
    sigset_t now, pending;
    siginfo_t info = {0};

    REQUIRE(descriptors() == count);
    REQUIRE(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigpending(&pending) == 0);
    if (may_block && sigismember(&now, SIGTERM))
        mask = &now;
    for (int sig = 1; sig < 65; sig++) {
        REQUIRE(sigismember(&now, sig) == sigismember(mask, sig));
        REQUIRE(sigismember(&pending, sig) <= 0);
    }
    REQUIRE(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == -1 && errno == ECHILD);
}

/* First makes one child and writes no bytes once.  So the first clone(2), wait4(2) and
 * write(2) of the process are not those of a bind: strace counts the calls of each process. */
static int faulted(int more, const char *word)
{
    struct sockaddr_in wanted = loopback(1, 80), got = {0};
    socklen_t len = sizeof got;
    sigset_t mask;
    may_block = strcmp(word, "blocked") == 0;
    REQUIRE(strcmp(word, "subreaper") != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    ssize_t nothing = write(2, "", 0);
    (void)nothing;
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    while (child > 0 && wait4(child, NULL, 0, NULL) == -1 && errno == EINTR)
        ;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (strcmp(word, "high") == 0)
        REQUIRE(dup2(fd, 10) == 10 && close(fd) == 0 && (fd = 10));
    int count = descriptors();
    REQUIRE(fd >= 0 && sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
    errno = ERRNO_BEFORE;
    int result = bind(fd, (struct sockaddr *)&wanted, sizeof wanted), error = errno;
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
    REQUIRE(result == 0 || result == -1);
    REQUIRE(got.sin_port == (result == 0 ? htons(80) : 0));
    REQUIRE(error == ERRNO_BEFORE || result == -1);
    check_world(&mask, count);
    close(fd);
    printf(result == 0 ? "bound\n" : "errno %d\n", error);
    fflush(stdout);
    for (int i = 0; i < more; i++)
        bind_and_close(2);
    check_world(&mask, count - 1);
    return 0;
}

/* Threads, each of which stores its id where the main thread waits for it. */

static pid_t own_id(void)
{
    return (pid_t)syscall(SYS_gettid);
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

/* Binds while another thread's bind has copies.
 *
 * The process of a bind first closes the descriptors above its socket, then those
 * below.  Delayed at the second step, it has a copy of the listening socket.  The
 * main thread's socket is descriptor 0, so its own bind has only the first step. */

enum { FIRST = 3, HIGH = 100 };

static void *binds(void *id)
{
    *(_Atomic pid_t *)id = own_id();
    bind_and_close(1);
    return NULL;
}

/* Waits until the process that the thread's bind started has its own descriptor table. The
 * process has copies of our descriptors, but none above the thread's socket. */
static void wait_for_copies(pid_t thread)
{
    char path[64];
    long process;

    while ((process = number_in(thread, "children")) == 0)
        ;
    do {
        snprintf(path, sizeof path, "/proc/%ld/fd/%d", process, HIGH);
    } while (access(path, F_OK) == 0);
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", process, FIRST);
    REQUIRE(access(path, F_OK) == 0);
}

static int try_bind(int fd, const struct sockaddr_in *wanted)
{
    return bind(fd, (const struct sockaddr *)wanted, sizeof *wanted) == 0 ? 0 : errno;
}

static int listening(const struct sockaddr_in *wanted)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0 && try_bind(fd, wanted) == 0 && listen(fd, 1) == 0);
    return fd;
}

static int beside_copies(const char *how, int port)
{
    int is_fork = strcmp(how, "forked") == 0, is_held = strcmp(how, "held") == 0;
    struct sockaddr_in wanted = loopback(2, port);
    int first = listening(&wanted), second;
    _Atomic pid_t binder = 0;

    REQUIRE(first == FIRST && dup2(2, HIGH) == HIGH);
    close(0);
    second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(second == 0);
    pthread_t thread = start(binds, &binder);
    wait_for_copies(binder);
    if (is_fork) {
        int status;
        pid_t child = fork();
        if (child == 0)
            exit(try_bind(second, &wanted));
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == EADDRINUSE);
    } else {
        REQUIRE(close(first) == 0);
        REQUIRE(try_bind(second, &wanted) == (is_held ? EADDRINUSE : 0));
    }
    REQUIRE(pthread_join(thread, NULL) == 0);
    return 0;
}

/* Binds and calls of execve(2).
 *
 * One thread binds.  A second thread executes a missing file, and waits for the
 * first.  A third thread binds, and waits for the second.  A child that is forked
 * then has none of these threads, and waits for nobody.  After MARK all go on. */

static _Atomic int executed;

static void refused(int last)
{
    struct sockaddr_in wanted = loopback(last, 80);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0);
    REQUIRE(bind(fd, (struct sockaddr *)&wanted, sizeof wanted) == -1 && errno == EACCES);
    REQUIRE(close(fd) == 0);
}

static void *is_refused(void *id)
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

static void *executes(void *id)
{
    *(_Atomic pid_t *)id = own_id();
    execute_nothing();
    executed = 1;
    return NULL;
}

static int beside_execve(const char *mark)
{
    _Atomic pid_t first = 0, second = 0, third = 0;
    pthread_t threads[3];
    int status, fd, end[2];
    char none;

    REQUIRE(pipe(end) == 0);
    threads[0] = start(is_refused, &first);
    while (number_in(first, "children") == 0)
        ;
    threads[1] = start(executes, &second);
    while (number_in(second, "syscall") != SYS_futex)
        ;
    threads[2] = start(is_refused, &third);
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
    fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && close(fd) == 0);
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    REQUIRE(close(end[1]) == 0 && waitpid(child, &status, 0) == child && status == 0);
    return 0;
}

int main(int argc, char **argv)
{
    REQUIRE(argc >= 2);
    if (strcmp(argv[1], "faulted") == 0)
        return faulted(argc > 2 ? atoi(argv[2]) : 1, argc > 3 ? argv[3] : "");
    REQUIRE(argc == 3);
    if (strcmp(argv[1], "executes") == 0)
        return beside_execve(argv[2]);
    return beside_copies(argv[1], atoi(argv[2]));
}
