/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the C programs under test share: a failed REQUIRE says where and why
 * and ends the program with status 1.
 */
#ifndef COMMON_H
#define COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ERRNO_BEFORE 4242

#define REQUIRE(condition)                                                                 \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            dprintf(2, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); \
            _exit(1);                                                                      \
        }                                                                                  \
    } while (0)

/* No test runs a server at these addresses: TIME_WAIT would keep them busy. */
static inline struct sockaddr_in loopback(int last, int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(0x7f500000u + (unsigned)last),
    };
}

/* Binds without SO_REUSEADDR, and checks that errno is unchanged. */
static inline void must_bind(int fd, int last)
{
    struct sockaddr_in wanted = loopback(last, 80), got = {0};
    socklen_t len = sizeof got;

    errno = ERRNO_BEFORE;
    REQUIRE(bind(fd, (struct sockaddr *)&wanted, sizeof wanted) == 0);
    REQUIRE(errno == ERRNO_BEFORE);
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
    REQUIRE(got.sin_port == wanted.sin_port && got.sin_addr.s_addr == wanted.sin_addr.s_addr);
}

static inline void bind_and_close(int last)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0);
    must_bind(fd, last);
    REQUIRE(close(fd) == 0);
}

/* A case of a program that has several: it gets the words after its name, and NULL. */
struct named_case {
    const char *name;
    int (*run)(char **words);
};

/* Runs the case that argv[1] names; returns the status of the program. */
static inline int run_case(const struct named_case *cases, size_t count, char **argv)
{
    for (size_t i = 0; argv[1] && i < count; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            return cases[i].run(argv + 2);
    dprintf(2, "%s: no case %s\n", argv[0], argv[1] ? argv[1] : "was named");
    return 2;
}

#endif
