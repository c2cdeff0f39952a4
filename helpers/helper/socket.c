/* SPDX-License-Identifier: MIT
 *
 * Checks that descriptor 3 is a socket of a kind that can be granted, and binds it.
 * Another process can change the socket during the check:
 * - SO_PROTOCOL and the network namespace are fixed at socket(2).
 * - IPV6_V6ONLY and SO_REUSE* can be flipped, so nothing is concluded from them.
 * - SO_DOMAIN can change once, from AF_INET6 to AF_INET (IPV6_ADDRFORM of ipv6(7)).
 *   bind(2) then gets an address of the family that was judged, which is no longer
 *   the socket's family: the kernel refuses with EAFNOSUPPORT.
 * (docs/hostile.md, 23, 24, 34 to 37, 39, 52)
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

/* The kernel asks for the capability in the network namespace of the socket, not in
 * the helper's.  The permission files speak about the helper's namespace only: a
 * socket of another one must not be bound by them.  *cause: an errno, or 0. */
static enum pb_reason netns_check(int fd, int *cause)
{
    uint64_t theirs = 0, ours = 0;
    int own_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* any family has the cookie */
    bool known = own_fd >= 0 && get(fd, SO_NETNS_COOKIE, &theirs, sizeof theirs) &&
                 get(own_fd, SO_NETNS_COOKIE, &ours, sizeof ours);
    *cause = known ? 0 : errno;
    if (!known)
        return PB_REASON_NETNS_UNKNOWN;
    return theirs == ours ? PB_REASON_GRANTED : PB_REASON_NETNS;
}

/* Returns PB_REASON_GRANTED, or why this socket cannot be granted; *cause is the
 * errno behind a refusal.  *protocol is the socket's own; judging it is left to
 * main.c. */
enum pb_reason socket_check(int fd, int family, int *protocol, int *cause)
{
    int domain = 0, type = 0;

    if (!get(fd, SO_DOMAIN, &domain, sizeof domain) ||
        !get(fd, SO_TYPE, &type, sizeof type) ||
        !get(fd, SO_PROTOCOL, protocol, sizeof *protocol)) {
        *cause = errno;
        return PB_REASON_SOCKET_KIND;
    }
    /* The protocol alone proves nothing: a raw socket may name any protocol. */
    if ((domain != AF_INET && domain != AF_INET6) ||
        type != (*protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM))
        return PB_REASON_SOCKET_KIND;
    if (domain != family)
        return PB_REASON_SOCKET_FAMILY;
    return netns_check(fd, cause);
}

/* Binds the helper's own copy of the address, so that the program cannot change the
 * address between judgement and bind. */
void socket_bind(int fd, const struct pb_request *request, struct pb_reply *reply)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } a = {.in6 = {.sin6_family = request->family,
                   .sin6_port = request->port,
                   .sin6_flowinfo = request->flowinfo, /* IPv4: overwritten by sin_addr */
                   .sin6_scope_id = request->scope_id}};
    bool v4 = request->family == AF_INET;

    memcpy(v4 ? (void *)&a.in4.sin_addr : &a.in6.sin6_addr, request->addr, v4 ? 4 : 16);
    int error = caps_bind(fd, &a.any, v4 ? sizeof a.in4 : sizeof a.in6);
    if (error) {
        reply->reason = PB_REASON_KERNEL;
        reply->error = reply->cause = error;
    }
}
