/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * The kernel judges by the permission files: what pybindd(8) attaches to a
 * control group.  bind4 and bind6 run at each bind(2), before the kernel's own
 * check; for what the files grant they answer "allow, and do not ask for
 * CAP_NET_BIND_SERVICE".  post_bind4 and post_bind6 run when the socket has its
 * port, and take it away where that is not the one that was judged: a program
 * of somebody else may have put another address in between.
 *
 * Trusted: root, pybindd, the kernel.  The caller chooses the address, the
 * socket, its own credentials as far as the kernel lets it, and the moment.
 * In doubt the answer is AS_WITHOUT_US: pybind-helper may still grant it.
 *
 * table.h is what pybindd fills in, caller.h who binds, rules.h the judgement in
 * the helper's order, report.h the log.
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

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define PROT_SOCK 1024 /* where the kernel has no sysctl */

/* include/linux/bpf-cgroup.h: the lowest bit allows, the next one is
 * BPF_RET_BIND_NO_CAP_NET_BIND_SERVICE. */
enum { FORBID = 0, AS_WITHOUT_US = 1, GRANTED_BY_US = 3 };

char pybind_licence[] SEC("license") = "Dual MIT/GPL";

/* The first port that needs no privilege where the socket lives (ip-sysctl.rst). */
static __always_inline bool first_free_port(struct sock *sk, int *port)
{
    struct net *net = NULL;

    *port = PROT_SOCK;
    if (!bpf_core_field_exists(net->ipv4.sysctl_ip_prot_sock))
        return true;
    return READ(net, sk->__sk_common.skc_net.net) && net &&
           READ(*port, net->ipv4.sysctl_ip_prot_sock);
}

/* ::ffff:a.b.c.d takes the IPv4 port, so it is judged as a.b.c.d. */
static __always_inline void set_ipv6(struct question *q, __u32 a, __u32 b, __u32 c, __u32 d)
{
    bool mapped = a == 0 && b == 0 && c == bpf_htonl(0xffff);

    q->family = mapped ? 4 : 6;
    q->addr_high = mapped ? 0 : (__u64)bpf_ntohl(a) << 32 | bpf_ntohl(b);
    q->addr_low = mapped ? bpf_ntohl(d) : (__u64)bpf_ntohl(c) << 32 | bpf_ntohl(d);
}

/* TCP and UDP alone, and a raw socket may name any protocol as its own.
 * AF_UNSPEC passes the kernel's hook: the family must be the socket's. */
static __always_inline bool set_protocol(struct question *q, struct bpf_sock_addr *ctx)
{
    bool tcp = ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP;

    q->protocol = tcp ? TCP : UDP;
    return ctx->user_family == ctx->family &&
           ((tcp && ctx->type == SOCK_STREAM) ||
            (ctx->protocol == IPPROTO_UDP && ctx->type == SOCK_DGRAM));
}

static __always_inline bool take_note(struct bpf_sock *sk, const struct walk *w)
{
    struct note new = {.addr_high = w->question.addr_high, .addr_low = w->question.addr_low,
                       .file = w->file, .port = w->question.port, .family = w->question.family,
                       .uid = w->caller.uid, .owner = w->caller.owner,
                       .foreign = w->caller.foreign};
    struct note *note = bpf_sk_storage_get(&notes, sk, &new, BPF_SK_STORAGE_GET_F_CREATE);

    if (note)
        *note = new; /* it may be there from an earlier bind */
    return note;
}

/* q: the address and, where it is one of ours, the protocol. */
static __always_inline int answer(struct bpf_sock_addr *ctx, const struct question *q)
{
    struct walk w = {.question = *q};
    struct bpf_sock *socket = ctx->sk;
    struct sock *sk = NULL;
    __u32 zero = 0;
    int free_port;

    struct note *open = socket ? bpf_sk_storage_get(&notes, socket, NULL, 0) : NULL;
    if (open)
        open->port = 0; /* from a bind that failed after it was granted: else logged by a later one */
    w.question.port = bpf_ntohs((__u16)ctx->user_port);
    struct control *control_now = bpf_map_lookup_elem(&control, &zero);
    if (!socket || !control_now || w.question.port == 0)
        return AS_WITHOUT_US;
    w.slot = READ_ONCE(control_now->slot);
    if (w.slot >= SLOTS || w.question.port >= READ_ONCE(control_now->ports[w.slot]) ||
        !READ(sk, ((struct bpf_sock_addr_kern *)ctx)->sk) || !sk ||
        !first_free_port(sk, &free_port) || w.question.port >= free_port ||
        !set_protocol(&w.question, ctx) ||
        bpf_ktime_get_coarse_ns() >= READ_ONCE(control_now->lease_until_ns) ||
        bpf_get_netns_cookie(ctx) != control_now->netns_cookie ||
        !caller_read(&w.caller, control_now->userns_inum) || w.caller.capable)
        return AS_WITHOUT_US;
    w.folders = control_now->folders[w.slot];
    __u8 event = control_now->left[w.slot] ? REFUSED_LEFT : REFUSED;
    if (w.caller.two_fold)
        event = REFUSED_IDS; /* half another user: no single identity to ask about */
    else if (event == REFUSED && judge(&w) && take_note(socket, &w))
        return GRANTED_BY_US;
    report(&w.caller, &w.question, w.file, w.left ? REFUSED_LEFT : event);
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

/* q: what the socket is bound to now.  A socket that was never granted anything
 * by us is none of our business. */
static __always_inline int confirm(struct bpf_sock *ctx, struct question *q)
{
    struct note *note = bpf_sk_storage_get(&notes, ctx, NULL, 0);
    struct caller caller = {0};
    __u32 zero = 0;
    int free_port;

    if (!note)
        return AS_WITHOUT_US;
    struct note judged = *note;
    note->port = 0;
    q->port = ctx->src_port;
    q->protocol = ctx->protocol == IPPROTO_UDP ? UDP : TCP;
    caller.uid = judged.uid;
    caller.owner = judged.owner;
    caller.foreign = judged.foreign;
    if (judged.port != 0 && judged.port == q->port && judged.family == q->family &&
        judged.addr_high == q->addr_high && judged.addr_low == q->addr_low) {
        report(&caller, q, judged.file, GRANTED);
        return AS_WITHOUT_US;
    }
    /* Another address than the judged one: as it would be without us, so it must
     * be a bind that needs no grant.  (Two threads that bind one socket at a time
     * may come here too; the kernel lets one of them win, and we neither.) */
    if (first_free_port((struct sock *)ctx, &free_port) && q->port >= free_port)
        return AS_WITHOUT_US;
    struct control *control_now = bpf_map_lookup_elem(&control, &zero);
    if (control_now && caller_read(&caller, control_now->userns_inum) && caller.capable)
        return AS_WITHOUT_US;
    report(&caller, q, judged.file, REFUSED_CHANGED);
    return FORBID;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
    struct question q = {.family = 4, .addr_low = bpf_ntohl(ctx->src_ip4)};

    return confirm(ctx, &q);
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
    struct question q = {0};

    set_ipv6(&q, ctx->src_ip6[0], ctx->src_ip6[1], ctx->src_ip6[2], ctx->src_ip6[3]);
    return confirm(ctx, &q);
}
