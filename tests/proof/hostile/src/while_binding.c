/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a program does in one thread while another thread binds.
 *
 * while_binding cancelled: threads are cancelled while they bind in a loop.  bind(2)
 * is no cancellation point, so each thread ends at its next testcancel.  Its
 * descriptor may be bound or not, but no descriptor is lost and no child is left.
 *
 * while_binding forks COUNT ERRNO: binds COUNT times, and each result must be ERRNO.
 * Meanwhile another thread starts children that keep copies of every descriptor.
 *
 * while_binding forked N: forks N children, one after the other, while a thread binds.
 * Each child binds a busy port and must get the error at once.  The processor time of
 * this bind is bounded.  Other processes do not change that time, but a child that
 * waits for its parent's thread uses it up.  Prints the longest duration of a bind in
 * microseconds.
 *
 * while_binding HOW N: executes itself N times by HOW (execve, execv, execvp or
 * execvpe) while a thread binds.  Prints the number of children and SIGCHLDs that it
 * then finds but never caused.
 */
#include "../../../programs/src/common.h"

#include <dirent.h>
#include <sys/mman.h>
#include <time.h>

extern char **environ;
static volatile int done;
static _Atomic int binds;

static void *binder(void *unused)
{
    struct sockaddr_in wanted = loopback(1, 80);
    int yes = 1;

    for (; !done; binds++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
        REQUIRE(bind(fd, (struct sockaddr *)&wanted, sizeof wanted) == 0); /* children have copies */
        REQUIRE(close(fd) == 0);
    }
    return unused;
}

/* The binding thread is cancelled. */

enum { THREADS = 200 };

static volatile int binding;

static void close_it(void *fd)
{
    REQUIRE(close(*(int *)fd) == 0);
}

static void *bind_until_cancelled(void *arg)
{
    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), state;
        pthread_cleanup_push(close_it, &fd);
        binding = 1;
        must_bind(fd, 1);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
        pthread_cleanup_pop(1);
        pthread_setcancelstate(state, &state);
        pthread_testcancel();
    }
    return arg;
}

static int descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int cancelled(void)
{
    int before = descriptors();

    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        void *result;
        binding = 0;
        REQUIRE(pthread_create(&thread, NULL, bind_until_cancelled, NULL) == 0);
        while (!binding)
            sched_yield();
        REQUIRE(pthread_cancel(thread) == 0);
        REQUIRE(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    }
    REQUIRE(descriptors() == before);
    REQUIRE(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    return 0;
}

/* Another thread forks children that live on. */

static void *fork_on(void *arg)
{
    static pid_t children[64];
    int count = 0;

    while (!done) {
        pid_t pid = fork();
        if (pid == 0)
            for (;;)
                pause();
        if (pid > 0)
            children[count++ % 64] = pid;
        if (count >= 64) {
            REQUIRE(kill(children[count % 64], SIGKILL) == 0);
            REQUIRE(waitpid(children[count % 64], NULL, 0) > 0);
        }
    }
    for (int i = 0; i < 64 && i < count; i++)
        kill(children[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return arg;
}

static int forks(int count, int want)
{
    pthread_t thread;

    REQUIRE(count > 0 && pthread_create(&thread, NULL, fork_on, NULL) == 0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in addr = loopback(1 + i, 80);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE((bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno) == want);
        close(fd);
    }
    done = 1;
    return pthread_join(thread, NULL);
}

/* The program forks children that bind themselves. */

enum { CPU_US_MAX = 5000 };

static long now_us(clockid_t clock)
{
    struct timespec t;

    REQUIRE(clock_gettime(clock, &t) == 0);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static long busy_bind(int fd, const struct sockaddr_in *busy)
{
    long cpu = now_us(CLOCK_THREAD_CPUTIME_ID), start = now_us(CLOCK_MONOTONIC);

    REQUIRE(bind(fd, (const struct sockaddr *)busy, sizeof *busy) == -1 && errno == EADDRINUSE);
    long lasted = now_us(CLOCK_MONOTONIC) - start;
    REQUIRE(now_us(CLOCK_THREAD_CPUTIME_ID) - cpu < CPU_US_MAX);
    return lasted;
}

static int forked(int count)
{
    struct sockaddr_in busy = loopback(2, 8080);
    int holder = socket(AF_INET, SOCK_STREAM, 0);
    long *longest = mmap(NULL, sizeof *longest, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t thread;

    REQUIRE(count > 0 && longest != MAP_FAILED && holder >= 0);
    REQUIRE(bind(holder, (struct sockaddr *)&busy, sizeof busy) == 0 && listen(holder, 1) == 0);
    bind_and_close(1);
    REQUIRE(pthread_create(&thread, NULL, binder, NULL) == 0);
    for (int i = 0; i < count; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            for (int j = 0; j < 3; j++) {
                long lasted = busy_bind(fd, &busy);
                *longest = lasted > *longest ? lasted : *longest;
            }
            _exit(0);
        }
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    done = 1;
    REQUIRE(pthread_join(thread, NULL) == 0);
    printf("%ld\n", *longest);
    return 0;
}

/* The program executes itself. */

static void execute(const char *how, char **argv)
{
    if (strcmp(how, "execve") == 0)
        execve("/proc/self/exe", argv, environ);
    else if (strcmp(how, "execv") == 0)
        execv("/proc/self/exe", argv);
    else if (strcmp(how, "execvp") == 0)
        execvp("/proc/self/exe", argv);
    else if (strcmp(how, "execvpe") == 0)
        execvpe("/proc/self/exe", argv, environ);
    REQUIRE(0);
}

static int executes(char **argv, int left, int found)
{
    char left_text[16], found_text[16];
    struct timespec now = {0}, moment = {.tv_nsec = 10000000};
    pthread_t thread;
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    REQUIRE(sigprocmask(SIG_BLOCK, &child, NULL) == 0);
    /* A leftover helper ends meanwhile. */
    nanosleep(&moment, NULL);
    while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
        found++;
    found += sigtimedwait(&child, NULL, &now) == SIGCHLD;
    if (left == 0)
        return printf("%d\n", found) < 0;
    REQUIRE(pthread_create(&thread, NULL, binder, NULL) == 0);
    while (binds < 2)
        ;
    /* A failed execve(2) lets the binds go on. */
    for (int i = 0; i < 100; i++)
        REQUIRE(execv("/nothing/here", argv) == -1 && errno == ENOENT);
    for (int before = binds; binds < before + 2;)
        ;
    snprintf(left_text, sizeof left_text, "%d", left - 1);
    snprintf(found_text, sizeof found_text, "%d", found);
    execute(argv[1], (char *[]){argv[0], argv[1], left_text, found_text, NULL});
    return 1;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? atoi(argv[2]) : 0, further = argc > 3 ? atoi(argv[3]) : 0;

    if (strcmp(what, "cancelled") == 0)
        return cancelled();
    REQUIRE(argc > 2);
    if (strcmp(what, "forks") == 0)
        return forks(number, further);
    if (strcmp(what, "forked") == 0)
        return forked(number);
    REQUIRE(strncmp(what, "exec", 4) == 0);
    return executes(argv, number, further);
}
