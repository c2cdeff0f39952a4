/* SPDX-License-Identifier: MIT
 *
 * libpybind.so: the bind(2) that an unmodified program calls.  The library always
 * asks the kernel first: only the kernel knows which ports are privileged here (the
 * sysctl ip_unprivileged_port_start, capabilities, namespaces).  Only a bind that
 * the kernel refuses with EACCES goes to the helper.  In doubt the program gets that
 * EACCES.
 */
#include <errno.h>
#include <netinet/in.h>

#include "arch.h"
#include "preload.h"

#define RETRIES 4 /* another thread's intermediate may hold a copy of a socket (progress.c) */
#define SIN6_LEN_RFC2133 24 /* without sin6_scope_id: the kernel accepts this length */

typedef int bind_fn(int, const struct sockaddr *, socklen_t);

/* The bind of the next preload library, or libc's. */
static bind_fn *next_bind;

__attribute__((constructor)) static void find_next_bind(void)
{
    next_bind = (bind_fn *)next_symbol("bind");
}

/* Returns 0 or an errno.  Changes the program's errno. */
static int plain_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (next_bind)
        return next_bind(fd, addr, len) == 0 ? 0 : *__errno_location();
    return (int)-raw(SYS_bind, fd, addr, len);
}

/* False: the helper could not grant this address. */
static bool make_request(const struct sockaddr *addr, socklen_t len, struct pb_request *request)
{
    struct sockaddr_in6 copy = {0}; /* the larger of the two */
    struct sockaddr_in in4;

    *request = (struct pb_request){
        .magic = PB_MAGIC, .version = PB_VERSION, .op = PB_OP_BIND};
    if (len < sizeof in4)
        return false;
    memcpy(&copy, addr, len < sizeof copy ? len : sizeof copy);
    memcpy(&in4, &copy, sizeof in4);
    request->family = copy.sin6_family;
    request->port = copy.sin6_port; /* the same place in both structures */
    if (request->family == AF_INET) {
        memcpy(request->addr, &in4.sin_addr, sizeof in4.sin_addr);
    } else if (request->family == AF_INET6 && len >= SIN6_LEN_RFC2133) {
        memcpy(request->addr, &copy.sin6_addr, sizeof copy.sin6_addr);
        request->flowinfo = copy.sin6_flowinfo;
        request->scope_id = len >= sizeof copy ? copy.sin6_scope_id : 0;
    } else {
        return false;
    }
    return request->port != 0;
}

/* Asks the socket whether it is bound: the helper died without a reply. */
static bool is_bound(int fd, const struct pb_request *request)
{
    struct sockaddr_in6 name = {0};
    struct sockaddr_in in4;
    socklen_t len = sizeof name;

    if (raw(SYS_getsockname, fd, &name, &len) != 0 || name.sin6_family != request->family ||
        name.sin6_port != request->port)
        return false;
    memcpy(&in4, &name, sizeof in4);
    return request->family == AF_INET
               ? memcmp(&in4.sin_addr, request->addr, sizeof in4.sin_addr) == 0
               : memcmp(&name.sin6_addr, request->addr, sizeof name.sin6_addr) == 0;
}

static int ask_helper(int fd, const struct pb_request *request, struct outcome *outcome)
{
    spawn_helper(fd, request, outcome);
    if (outcome->result == SPAWN_ANSWERED)
        return outcome->reply.error;
    return outcome->result == SPAWN_VANISHED && is_bound(fd, request) ? 0 : EACCES;
}

static int serve(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct pb_request request;
    struct outcome outcome;
    unsigned mark, word = 0;
    int error, tries = RETRIES, protocol = 0;
    socklen_t protocol_len = sizeof protocol;

    do {
        mark = progress_mark();
        error = plain_bind(fd, addr, len);
    } while (error == EADDRINUSE && progress_had_copies(mark, 0) && tries-- > 0);
    if (error != EACCES || !make_request(addr, len, &request))
        return error;
    if (privileges_given_up())
        word = PB_WORD_NO_NEW_PRIVS;
    else if (raw(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &protocol_len) != 0)
        return error;
    else
        word = limits_exclude(&request, protocol);
    if (word) {
        report_word(&request, protocol, word);
        return error;
    }
    do {
        mark = progress_mark();
        error = ask_helper(fd, &request, &outcome);
    } while (error == EADDRINUSE && progress_had_copies(mark, 1) && tries-- > 0);
    report_outcome(&request, protocol, &outcome);
    return error;
}

__attribute__((visibility("default"))) int bind(int fd, const struct sockaddr *addr,
                                                socklen_t len)
{
    int none = 0, *errno_at = &__errno_location ? __errno_location() : &none, before = *errno_at;
    int error = serve(fd, addr, len);

    *errno_at = error ? error : before;
    return error ? -1 : 0;
}
