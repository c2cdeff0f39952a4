/* SPDX-License-Identifier: MIT
 *
 * Is descriptor 3 a socket that the rules speak about, and the bind itself.
 * Only properties that cannot change under us are trusted: SO_DOMAIN,
 * SO_PROTOCOL and the network namespace are fixed at socket(2); IPV6_V6ONLY
 * and SO_REUSE* can be flipped by another process while we look (HOSTILE
 * cases 23, 24, 34 to 37, 39, 52).
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static bool get(int fd, int option, void *value, socklen_t len)
{
    socklen_t got = len;

    return getsockopt(fd, SOL_SOCKET, option, value, &got) == 0 && got == len;
}

/* The capability counts in the namespace where the socket lives, not where
 * the helper runs: without the comparison a socket of another (root-owned)
 * namespace would be bound there, by the rules of here. */
static enum pb_reason netns_check(int fd, int *cause)
{
    uint64_t theirs = 0, ours = 0;
    int own_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (own_fd < 0)
        own_fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool known = own_fd >= 0 && get(fd, SO_NETNS_COOKIE, &theirs, sizeof theirs) &&
                 get(own_fd, SO_NETNS_COOKIE, &ours, sizeof ours);
    *cause = known ? 0 : errno;
    if (own_fd >= 0)
        close(own_fd);
    if (!known)
        return PB_REASON_NETNS_UNKNOWN;
    return theirs == ours ? PB_REASON_GRANTED : PB_REASON_NETNS;
}

/* Returns PB_REASON_GRANTED and the socket's protocol, or why it is not one
 * to be bound; *cause is the errno behind it. */
enum pb_reason socket_check(int fd, int family, int *protocol, int *cause)
{
    int domain = 0;

    if (!get(fd, SO_DOMAIN, &domain, sizeof domain) ||
        !get(fd, SO_PROTOCOL, protocol, sizeof *protocol)) {
        *cause = errno;
        return PB_REASON_SOCKET_KIND;
    }
    if (domain != AF_INET && domain != AF_INET6)
        return PB_REASON_SOCKET_KIND;
    if (*protocol != IPPROTO_TCP && *protocol != IPPROTO_UDP && *protocol != IPPROTO_MPTCP)
        return PB_REASON_SOCKET_KIND;
    if (domain != family)
        return PB_REASON_SOCKET_FAMILY;
    return netns_check(fd, cause);
}

/* Binds the helper's own copy of the address: what was judged is what is
 * bound, whatever the program does to its memory meanwhile. */
void socket_bind(int fd, const struct pb_request *request, struct pb_reply *reply)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = request->port};
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6,
        .sin6_port = request->port,
        .sin6_flowinfo = request->flowinfo,
        .sin6_scope_id = request->scope_id,
    };

    memcpy(&in4.sin_addr, request->addr, sizeof in4.sin_addr);
    memcpy(&in6.sin6_addr, request->addr, sizeof in6.sin6_addr);
    int error = request->family == AF_INET
                    ? caps_bind(fd, (const struct sockaddr *)&in4, sizeof in4)
                    : caps_bind(fd, (const struct sockaddr *)&in6, sizeof in6);
    if (error == 0)
        return;
    reply->reason = PB_REASON_KERNEL;
    reply->error = error;
    reply->cause = error;
}
