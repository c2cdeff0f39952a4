/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * flip PORT COUNT: one thread rewrites the address in memory, alternately to PORT and
 * 81, while another thread binds it COUNT times.  Prints how often the socket was
 * bound to PORT, bound to 81, and refused.
 */
#include "common.h"

static struct sockaddr_in addr;
static volatile int finished;
static unsigned short first, second;

static void *flip(void *arg)
{
    while (!finished) {
        *(volatile unsigned short *)&addr.sin_port = first;
        *(volatile unsigned short *)&addr.sin_port = second;
    }
    return arg;
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[2]) : 1, allowed = 0, forbidden = 0, refused = 0;
    pthread_t thread;

    addr = loopback(3, first = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 80)));
    addr.sin_port = first;
    second = htons(81);
    REQUIRE(pthread_create(&thread, NULL, flip, NULL) == 0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in got = {0};
        socklen_t len = sizeof got;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int result = bind(fd, (struct sockaddr *)&addr, sizeof addr);
        REQUIRE(result == 0 || errno == EACCES);
        REQUIRE(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
        forbidden += got.sin_port == second;
        allowed += got.sin_port == first;
        refused += result != 0;
        close(fd);
    }
    finished = 1;
    REQUIRE(pthread_join(thread, NULL) == 0);
    printf("allowed %d forbidden %d refused %d\n", allowed, forbidden, refused);
    return 0;
}
