/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * lengths [SCOPE]: every address length that bind(2) accepts.  With SCOPE, the
 * name of an interface: its link-local address fe80::1.
 */
#include "common.h"

#include <net/if.h>

static void bind6(const char *text, unsigned scope, socklen_t len)
{
    struct sockaddr_storage room = {0};
    struct sockaddr_in6 *wanted = (struct sockaddr_in6 *)&room, got = {0};
    socklen_t got_len = sizeof got;
    int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* other tests served at ::1 */
    wanted->sin6_family = AF_INET6;
    wanted->sin6_port = htons(80);
    wanted->sin6_scope_id = scope;
    REQUIRE(inet_pton(AF_INET6, text, &wanted->sin6_addr) == 1);
    REQUIRE(bind(fd, (struct sockaddr *)&room, len) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &got_len) == 0);
    REQUIRE(memcmp(&got.sin6_addr, &wanted->sin6_addr, sizeof got.sin6_addr) == 0);
    REQUIRE(got.sin6_port == htons(80) && got.sin6_scope_id == scope);
    close(fd);
}

static void bind4(socklen_t len)
{
    struct sockaddr_storage room = {0};
    struct sockaddr_in wanted = loopback(1, 80), got = {0};
    socklen_t got_len = sizeof got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&room, 0xff, sizeof room);
    memcpy(&room, &wanted, sizeof wanted);
    REQUIRE(bind(fd, (struct sockaddr *)&room, len) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &got_len) == 0);
    REQUIRE(got.sin_port == wanted.sin_port && got.sin_addr.s_addr == wanted.sin_addr.s_addr);
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        unsigned scope = if_nametoindex(argv[1]);
        REQUIRE(scope != 0);
        bind6("fe80::1", scope, sizeof(struct sockaddr_in6));
        bind6("fe80::1", scope, sizeof(struct sockaddr_storage));
        return 0;
    }
    for (socklen_t len = sizeof(struct sockaddr_in); len <= sizeof(struct sockaddr_storage); len++)
        bind4(len);
    bind6("::1", 0, 24); /* the struct of RFC 2133, which has no scope */
    for (socklen_t len = sizeof(struct sockaddr_in6); len <= sizeof(struct sockaddr_storage); len++)
        bind6("::1", 0, len);
    return 0;
}
