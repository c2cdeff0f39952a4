/* SPDX-License-Identifier: MIT
 *
 * Is descriptor 3 a socket that the rules speak about, and the bind itself.
 * Another process can change the socket while we look.  SO_PROTOCOL and the
 * network namespace are fixed at socket(2).  IPV6_V6ONLY and SO_REUSE* can be
 * flipped, so nothing is concluded from them.  SO_DOMAIN can change once, from
 * AF_INET6 to AF_INET (IPV6_ADDRFORM of ipv6(7)): bind(2) then gets an address
 * of the family that was judged, and the kernel compares the two again and
 * refuses with EAFNOSUPPORT (docs/hostile.md, 23, 24, 34 to 37, 39, 52).
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

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
    int own_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* every family has a cookie */
    bool known = own_fd >= 0 && get(fd, SO_NETNS_COOKIE, &theirs, sizeof theirs) &&
                 get(own_fd, SO_NETNS_COOKIE, &ours, sizeof ours);
    *cause = known ? 0 : errno;
    if (!known)
        return PB_REASON_NETNS_UNKNOWN;
    return theirs == ours ? PB_REASON_GRANTED : PB_REASON_NETNS;
}

/* Returns PB_REASON_GRANTED and the socket's protocol, which the caller judges,
 * or why it is not one to be bound; *cause is the errno behind it. */
enum pb_reason socket_check(int fd, int family, int *protocol, int *cause)
{
    int domain = 0, type = 0;

    if (!get(fd, SO_DOMAIN, &domain, sizeof domain) ||
        !get(fd, SO_TYPE, &type, sizeof type) ||
        !get(fd, SO_PROTOCOL, protocol, sizeof *protocol)) {
        *cause = errno;
        return PB_REASON_SOCKET_KIND;
    }
    /* The type too: a raw socket may name any protocol as its own. */
    if ((domain != AF_INET && domain != AF_INET6) ||
        type != (*protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM))
        return PB_REASON_SOCKET_KIND;
    if (domain != family)
        return PB_REASON_SOCKET_FAMILY;
    return netns_check(fd, cause);
}

/* Binds the helper's own copy of the address: what was judged is what is
 * bound, whatever the program does to its memory meanwhile. */
void socket_bind(int fd, const struct pb_request *request, struct pb_reply *reply)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } a = {.in6 = {.sin6_family = request->family,
                   .sin6_port = request->port,
                   .sin6_flowinfo = request->flowinfo, /* under sin_addr in the other form */
                   .sin6_scope_id = request->scope_id}};
    bool v4 = request->family == AF_INET;

    memcpy(v4 ? (void *)&a.in4.sin_addr : &a.in6.sin6_addr, request->addr, v4 ? 4 : 16);
    int error = caps_bind(fd, &a.any, v4 ? sizeof a.in4 : sizeof a.in6);
    if (error) {
        reply->reason = PB_REASON_KERNEL;
        reply->error = reply->cause = error;
    }
}
