/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * forks COUNT ERRNO: binds COUNT times, and each result must be ERRNO.  Meanwhile
 * another thread starts children that keep copies of every descriptor.
 */
#include "common.h"

static volatile int finished;

static void *fork_on(void *arg)
{
    static pid_t children[64];
    int count = 0;

    while (!finished) {
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

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1, want = argc > 2 ? atoi(argv[2]) : 0;
    pthread_t thread;

    REQUIRE(pthread_create(&thread, NULL, fork_on, NULL) == 0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in addr = loopback(1 + i, 80);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE((bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno) == want);
        close(fd);
    }
    finished = 1;
    return pthread_join(thread, NULL);
}
