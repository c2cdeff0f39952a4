/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Threads are cancelled while they bind in a loop.  bind(2) is no cancellation point,
 * so each thread ends at its next testcancel.  Its descriptor may be bound or not, but
 * no descriptor is lost and no child is left.
 */
#include "common.h"

#include <dirent.h>

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

int main(void)
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
