/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One execution is one whole run of the helper in a kernel made of the input
 * (world.h), compared with the promises of SECURITY.md.  main.c is included so that
 * its static answer can be cleared between runs.
 */
#define main helper_main
int helper_main(void);
#include "../../../helpers/helper/main.c"
#undef main

#include <stdlib.h>

#include "world.h"

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool well_formed(const struct pb_request *r)
{
    static const unsigned char none[12];

    return world.message_len == sizeof *r && !world.message_flags && r->magic == PB_MAGIC &&
           r->version == PB_VERSION && r->zero == 0 && r->port != 0 &&
           (r->op == PB_OP_CHECK || (r->op == PB_OP_BIND && r->protocol == 0)) &&
           (r->family == AF_INET6 ||
            (r->family == AF_INET && memcmp(r->addr + 4, none, sizeof none) == 0));
}

static bool served(int protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_MPTCP;
}

/* May this socket be bound at all, whatever the files say? */
static bool socket_is_fit(const struct pb_request *r)
{
    int type = world.protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;

    return world.domain == r->family && world.type == type && served(world.protocol) &&
           !world.foreign;
}

static void check_bound_address(const struct pb_request *r)
{
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;

    if (r->family == AF_INET) {
        memcpy(&in4, &world.bound, sizeof in4);
        REQUIRE(world.bound_len == sizeof in4 && in4.sin_family == AF_INET);
        REQUIRE(in4.sin_port == r->port && memcmp(&in4.sin_addr, r->addr, 4) == 0);
        return;
    }
    memcpy(&in6, &world.bound, sizeof in6);
    REQUIRE(world.bound_len == sizeof in6 && in6.sin6_family == AF_INET6);
    REQUIRE(in6.sin6_port == r->port && memcmp(&in6.sin6_addr, r->addr, 16) == 0);
    REQUIRE(in6.sin6_scope_id == r->scope_id && in6.sin6_flowinfo == r->flowinfo);
}

static void check_reply(const struct pb_request *r)
{
    const struct pb_reply *reply = &world.sent.reply;
    bool granted = reply->reason == PB_REASON_GRANTED;

    REQUIRE(world.sends == 1 && world.sent_len >= sizeof *reply);
    REQUIRE(reply->magic == PB_MAGIC && reply->version == PB_VERSION);
    REQUIRE(granted == (reply->error == 0));
    REQUIRE(memchr(reply->name, '\0', sizeof reply->name) != NULL);
    REQUIRE(world.sent.trace.count <= PB_TRACE_MAX);
    if (granted && well_formed(r) && r->op == PB_OP_BIND)
        REQUIRE(world.binds == 1 && world.bind_error == 0);
    if (reply->reason == PB_REASON_KERNEL)
        REQUIRE(world.binds == 1 && reply->error == world.bind_error);
}

static void check(void)
{
    static const unsigned char zero[16];
    struct pb_request r = {0};

    memcpy(&r, world.message, sizeof r);
    bool wildcard = r.family == AF_INET6 && memcmp(r.addr, zero, sizeof zero) == 0;
    bool whole = well_formed(&r) && !world.half_uid && !world.half_gid && world.reply_is_unix;
    bool by_rules = whole && !world.unsafe && world.grants == (wildcard ? 2 : 1);

    REQUIRE(!world.effective);
    if (world.binds) {
        REQUIRE(world.binds == 1 && by_rules && world.capable && r.op == PB_OP_BIND);
        REQUIRE(socket_is_fit(&r) && !world.permitted);
        check_bound_address(&r);
    }
    if (!world.reply_is_unix) {
        REQUIRE(world.status == 1 && world.sends == 0);
        return;
    }
    REQUIRE(world.status == 0);
    check_reply(&r);
    bool granted = world.sent.reply.reason == PB_REASON_GRANTED;
    if (granted)
        REQUIRE(by_rules && world.capable && (r.op == PB_OP_CHECK || world.binds == 1));
    /* No granted request is refused. */
    if (by_rules && world.capable)
        REQUIRE(granted || world.binds == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&answer, 0, sizeof answer);
    world_start(data, size);
    if (setjmp(world.exited) == 0)
        helper_main();
    check();
    return 0;
}
