/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * The programs that pybindd(8) attaches to a control group, so that the kernel
 * judges by the permission files.
 *
 * bind4 and bind6 run at each bind(2), before the kernel's own check.  When the
 * files grant the bind, they answer "allow, and do not ask for
 * CAP_NET_BIND_SERVICE".  post_bind4 and post_bind6 run when the socket has its
 * port.  When the socket's address is not the judged one, they forbid the bind:
 * another attached program may have changed the address after the judgement.  They
 * also forbid a bind that the files no longer grant.
 *
 * Trusted: root, pybindd, the kernel.  The caller chooses the address, the socket,
 * the moment, and those credentials that the kernel lets them choose.
 * In doubt the answer is AS_WITHOUT_US: pybind-helper may still grant the bind.
 *
 * table.h is the table that pybindd fills, caller.h finds who binds, rules.h judges
 * in the helper's order, note.h passes the judged address on, report.h writes the log.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "table.h"
#include "maps.h"
#include "caller.h"
#include "rules.h"
#include "report.h"
#include "note.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define PROT_SOCK 1024 /* where the kernel has no sysctl */

/* include/linux/bpf-cgroup.h: bit 0 allows the bind, bit 1 is
 * BPF_RET_BIND_NO_CAP_NET_BIND_SERVICE. */
enum { FORBID = 0, AS_WITHOUT_US = 1, GRANTED_BY_US = 3 };

char pybind_licence[] SEC("license") = "Dual MIT/GPL";

/* *port: the first port that needs no privilege in the socket's network namespace
 * (ip_unprivileged_port_start, ip-sysctl.rst).  False: it could not be read. */
static __always_inline bool first_free_port(struct sock *sk, int *port)
{
    struct net *net = NULL;

    *port = PROT_SOCK;
    if (!bpf_core_field_exists(net->ipv4.sysctl_ip_prot_sock))
        return true;
    return READ(net, sk->__sk_common.skc_net.net) && net &&
           READ(*port, net->ipv4.sysctl_ip_prot_sock);
}

/* A socket on ::ffff:a.b.c.d takes the port of a.b.c.d, so a.b.c.d is judged.
 * a to d: the address in network byte order. */
static __always_inline void set_ipv6(struct question *q, __u32 a, __u32 b, __u32 c, __u32 d)
{
    bool mapped = a == 0 && b == 0 && c == bpf_htonl(0xffff);

    q->family = mapped ? 4 : 6;
    q->addr_high = mapped ? 0 : (__u64)bpf_ntohl(a) << 32 | bpf_ntohl(b);
    q->addr_low = mapped ? bpf_ntohl(d) : (__u64)bpf_ntohl(c) << 32 | bpf_ntohl(d);
}

/* Sets the protocol; returns whether the socket is of a kind that can be granted.  A
 * raw socket may name any protocol, so the type counts too.  The kernel also calls
 * these programs for AF_UNSPEC: the family of the address must be the socket's. */
static __always_inline bool set_protocol(struct question *q, struct bpf_sock_addr *ctx)
{
    bool tcp = ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP;

    q->protocol = tcp ? TCP : UDP;
    return ctx->user_family == ctx->family &&
           ((tcp && ctx->type == SOCK_STREAM) ||
            (ctx->protocol == IPPROTO_UDP && ctx->type == SOCK_DGRAM));
}

static __always_inline bool lease_holds(struct control *c)
{
    return bpf_ktime_get_coarse_ns() < READ_ONCE(c->lease_until_ns);
}

/* Whether the table of w->slot grants w->question to w->caller; else *event says why not.
 * Sets what w keeps of the table. */
static __always_inline bool grants(struct control *c, struct walk *w, __u8 *event)
{
    __u32 slot = w->slot;

    *event = REFUSED_LEFT;
    if (slot >= SLOTS) /* again: the verifier of Linux 6.1 forgets the bound during a call */
        return false;
    w->folders = c->folders[slot];
    w->table = c->numbers[slot];
    if (w->caller.two_fold)
        *event = REFUSED_IDS; /* half another user: the permission files know no such user */
    else if (!c->left[slot]) {
        if (judge(w))
            return true;
        if (!w->left)
            *event = REFUSED;
    }
    return false;
}

/* The answer of bind4 and bind6.  q: family and address of the bind. */
static __always_inline int answer(struct bpf_sock_addr *ctx, const struct question *q)
{
    struct walk w = {.question = *q};
    struct bpf_sock *socket = ctx->sk;
    struct sock *sk = NULL;
    __u32 zero = 0;
    int free_port;
    __u8 event;

    if (socket)
        drop_note(socket); /* a granted bind that failed left it: a later bind must not log it */
    w.question.port = bpf_ntohs((__u16)ctx->user_port);
    struct control *control_now = bpf_map_lookup_elem(&control, &zero);
    if (!socket || !control_now || w.question.port == 0)
        return AS_WITHOUT_US;
    w.slot = READ_ONCE(control_now->slot);
    if (w.slot >= SLOTS || w.question.port >= READ_ONCE(control_now->ports[w.slot]) ||
        !READ(sk, ((struct bpf_sock_addr_kern *)ctx)->sk) || !sk ||
        !first_free_port(sk, &free_port) || w.question.port >= free_port ||
        !set_protocol(&w.question, ctx) || !lease_holds(control_now) ||
        bpf_get_netns_cookie(ctx) != control_now->netns_cookie ||
        !caller_read(&w.caller, control_now->userns_inum) || w.caller.capable)
        return AS_WITHOUT_US;
    if (grants(control_now, &w, &event)) {
        if (leave_note(ctx, socket, &w))
            return GRANTED_BY_US;
        event = REFUSED_LEFT; /* the helper can grant it: the file does not refuse */
    }
    report(&w.caller, &w.question, w.file, event);
    return AS_WITHOUT_US;
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
    struct question q = {.family = 4, .addr_low = bpf_ntohl(ctx->user_ip4)};

    return answer(ctx, &q);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
    struct question q = {0};

    set_ipv6(&q, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]);
    return answer(ctx, &q);
}

/* Whether the grant still holds.  Between bind and post_bind the thread may have slept
 * for any time: another thread can hold the socket's lock as long as it likes.  So a
 * table that came meanwhile is asked, and the thread's credentials of this moment count. */
static __always_inline bool still_grants(struct control *c, struct walk *w,
                                         const struct note *judged)
{
    __u8 event;

    w->file = judged->file;
    if (!lease_holds(c))
        return false;
    __u32 slot = READ_ONCE(c->slot);
    if (slot < SLOTS && c->numbers[slot] == judged->table)
        return true;
    w->slot = slot;
    return caller_read(&w->caller, c->userns_inum) && grants(c, w, &event);
}

/* The answer of post_bind4 and post_bind6.  q: the address that the socket has now.
 * Without a note we granted nothing to this socket, so we have nothing to confirm. */
static __always_inline int confirm(struct bpf_sock *ctx, const struct question *q)
{
    struct walk w = {.question = *q};
    struct note judged;
    __u32 zero = 0;
    int free_port;

    if (!take_note(ctx, &judged))
        return AS_WITHOUT_US;
    struct control *control_now = bpf_map_lookup_elem(&control, &zero);
    if (!control_now)
        return FORBID;
    w.question.port = ctx->src_port;
    w.question.protocol = ctx->protocol == IPPROTO_UDP ? UDP : TCP;
    w.caller.uid = judged.uid;
    w.caller.owner = judged.owner;
    w.caller.foreign = judged.foreign;
    bool same = judged.port == w.question.port && judged.family == w.question.family &&
                judged.addr_high == w.question.addr_high &&
                judged.addr_low == w.question.addr_low;
    if (same && still_grants(control_now, &w, &judged)) {
        report(&w.caller, &w.question, w.file, GRANTED);
        return AS_WITHOUT_US;
    }
    /* Our grant does not count for this address, or no longer.  Allow the bind only if it
     * needs no grant. */
    if (first_free_port((struct sock *)ctx, &free_port) && w.question.port >= free_port)
        return AS_WITHOUT_US;
    if (caller_read(&w.caller, control_now->userns_inum) && w.caller.capable)
        return AS_WITHOUT_US;
    report(&w.caller, &w.question, w.file, same ? REFUSED_LATE : REFUSED_CHANGED);
    return FORBID;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
    const struct question q = {.family = 4, .addr_low = bpf_ntohl(ctx->src_ip4)};

    return confirm(ctx, &q);
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
    struct question q = {0};

    set_ipv6(&q, ctx->src_ip6[0], ctx->src_ip6[1], ctx->src_ip6[2], ctx->src_ip6[3]);
    return confirm(ctx, &q);
}
