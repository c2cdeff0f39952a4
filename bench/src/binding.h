/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the two programs share: the clock, the exit after an error, one bind.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static inline void fail(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Binds a TCP socket and closes it; addr and port are in host byte order. Returns the
* nanoseconds of bind(2). */
static inline long bind_once(uint32_t addr, uint16_t port)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(addr),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    long start = now_ns();
    if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0)
        fail("bind");
    long taken = now_ns() - start;
    close(fd);
    return taken;
}
