/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sets options and flags, registers the socket with epoll, binds, and finds
 * all of it as it was; a client's connection then wakes the epoll.
 */
#include "common.h"

#include <fcntl.h>
#include <sys/epoll.h>

struct option {
    int level, name, value, expected; /* the kernel doubles buffer sizes */
};

static const struct option options[] = {
    {SOL_SOCKET, SO_REUSEADDR, 1, 1},
    {SOL_SOCKET, SO_REUSEPORT, 0, 0},
    {SOL_SOCKET, SO_KEEPALIVE, 1, 1},
    {SOL_SOCKET, SO_RCVBUF, 30000, 60000},
    {SOL_SOCKET, SO_SNDBUF, 40000, 80000},
    {SOL_SOCKET, SO_PRIORITY, 3, 3},
    {SOL_SOCKET, SO_RCVLOWAT, 5, 5},
    {IPPROTO_IPV6, IPV6_V6ONLY, 0, 0},
    {IPPROTO_IPV6, IPV6_TCLASS, 0x20, 0x20},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, 1},
    {IPPROTO_TCP, TCP_NODELAY, 1, 1},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 3, 3},
    {IPPROTO_TCP, TCP_KEEPIDLE, 77, 77},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 5000, 5000},
};

int main(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    struct sockaddr_in local = loopback(1, 80);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 42}, got = {0};
    struct linger linger = {1, 7}, after = {0};
    socklen_t len = sizeof after;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC), client = socket(AF_INET, SOCK_STREAM, 0);

    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        REQUIRE(setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                           sizeof options[i].value) == 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    REQUIRE(epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    REQUIRE(fcntl(fd, F_SETOWN, getpid()) == 0);

    REQUIRE(bind(fd, (struct sockaddr *)&any, sizeof any) == 0);

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int value = -1;
        socklen_t size = sizeof value;
        REQUIRE(getsockopt(fd, options[i].level, options[i].name, &value, &size) == 0);
        if (value != options[i].expected)
            dprintf(2, "level %d option %d: %d\n", options[i].level, options[i].name, value);
        REQUIRE(value == options[i].expected);
    }
    REQUIRE(getsockopt(fd, SOL_SOCKET, SO_LINGER, &after, &len) == 0);
    REQUIRE(after.l_onoff == 1 && after.l_linger == 7);
    REQUIRE(fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK));
    REQUIRE(fcntl(fd, F_GETOWN) == getpid());

    REQUIRE(listen(fd, 5) == 0);
    REQUIRE(connect(client, (struct sockaddr *)&local, sizeof local) == 0);
    REQUIRE(write(client, "hello", 5) == 5); /* TCP_DEFER_ACCEPT waits for data */
    REQUIRE(epoll_wait(poll_fd, &got, 1, 10000) == 1 && got.data.u64 == 42);
    REQUIRE(accept(fd, NULL, NULL) >= 0);
    return puts("options kept") < 0;
}
