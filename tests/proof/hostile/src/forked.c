/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * forked N: forks N children, one after the other, while a thread binds.  Each child
 * binds a busy port and must get the error at once.  The processor time of this bind
 * is bounded: other processes do not change it, but a child that waits for its
 * parent's thread uses it up.  Prints the longest duration of a bind in microseconds.
 */
#include "../../../programs/src/common.h"

#include <sys/mman.h>
#include <time.h>

#define CPU_US_MAX 5000

static volatile int done;

static void *binder(void *unused)
{
    struct sockaddr_in wanted = loopback(1, 80);
    int yes = 1;

    (void)unused;
    while (!done) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
        REQUIRE(bind(fd, (struct sockaddr *)&wanted, sizeof wanted) == 0); /* children have copies */
        REQUIRE(close(fd) == 0);
    }
    return NULL;
}

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

int main(int argc, char **argv)
{
    struct sockaddr_in busy = loopback(2, 8080);
    int count = argc > 1 ? atoi(argv[1]) : 0, holder = socket(AF_INET, SOCK_STREAM, 0);
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
