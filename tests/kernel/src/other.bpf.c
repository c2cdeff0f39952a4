// SPDX-License-Identifier: GPL-3.0-or-later
// Programs that stand in for other tools at the hooks of pybindd.
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char other_licence[] SEC("license") = "GPL";

SEC("cgroup/bind4") int denies(struct bpf_sock_addr *ctx)
{
    return 0;
}

SEC("cgroup/bind4") int allows(struct bpf_sock_addr *ctx)
{
    return 1;
}

// What turned a grant of 80 into 22.
SEC("cgroup/bind4") int rewrites_port(struct bpf_sock_addr *ctx)
{
    if (ctx->user_port == bpf_htons(80))
        ctx->user_port = bpf_htons(22);
    return 1;
}

SEC("cgroup/bind4") int rewrites_address(struct bpf_sock_addr *ctx)
{
    ctx->user_ip4 = 0;
    return 1;
}

SEC("cgroup/bind4") int grants(struct bpf_sock_addr *ctx)
{
    return 3;
}

SEC("cgroup/bind6") int rewrites_port6(struct bpf_sock_addr *ctx)
{
    if (ctx->user_port == bpf_htons(80))
        ctx->user_port = bpf_htons(22);
    return 1;
}
