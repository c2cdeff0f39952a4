/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * killer COUNT: starts COUNT children, one after the other.  Each child binds without
 * a pause in four threads and is killed meanwhile, each time a little later.  Then its
 * addresses must be free.  Prints "killed COUNT".
 */
#include "common.h"

#include <sched.h>
#include <sys/mman.h>
#include <time.h>

enum { THREADS = 4, PATIENCE_S = 30, STEP_NS = 7000 };

static int *binds; /* shared with the child */

static int try_bind(int last)
{
    struct sockaddr_in addr = loopback(last, 80);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno;

    close(fd);
    return error;
}

static void *bind_loop(void *arg)
{
    for (;;) {
        int error = try_bind(1 + (int)(long)arg);
        REQUIRE(error == 0 || error == EADDRINUSE); /* busy: the late bind of a killed child */
        __atomic_add_fetch(binds, 1, __ATOMIC_RELAXED);
    }
    return arg;
}

static long since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - start->tv_sec) * 1000000000L + now.tv_nsec - start->tv_nsec;
}

static void kill_in_the_middle(long after_ns)
{
    struct timespec start;
    int status;

    __atomic_store_n(binds, 0, __ATOMIC_RELAXED);
    pid_t child = fork();
    if (child == 0) {
        pthread_t id;
        for (long i = 0; i < THREADS; i++)
            REQUIRE(pthread_create(&id, NULL, bind_loop, (void *)i) == 0);
        pthread_exit(NULL);
    }
    while (__atomic_load_n(binds, __ATOMIC_RELAXED) < THREADS) {
        REQUIRE(waitpid(child, &status, WNOHANG) == 0);
        sched_yield();
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (since(&start) < after_ns) /* chooses the moment of the bind at which the kill comes */
        ;
    REQUIRE(kill(child, SIGKILL) == 0);
    REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < THREADS; i++)
        for (int error; (error = try_bind(1 + i)) != 0;)
            REQUIRE(error == EADDRINUSE && since(&start) < PATIENCE_S * 1000000000L);
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1;

    binds = mmap(NULL, sizeof *binds, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(binds != MAP_FAILED);
    for (int i = 0; i < count; i++)
        kill_in_the_middle(i * STEP_NS);
    return printf("killed %d\n", count) < 0;
}
