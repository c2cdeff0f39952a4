/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * The kernel's own structs, with only the members that these programs read.  The
 * loader finds in the kernel's BTF where each member lies (CO-RE), so that one
 * object file serves every kernel.
 */
#ifndef PYBIND_KERNEL_H
#define PYBIND_KERNEL_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
    unsigned int val;
} kuid_t;

typedef struct {
    unsigned int val;
} kgid_t;

struct ns_common {
    unsigned int inum;
};

struct user_namespace {
    struct user_namespace *parent;
    kuid_t owner;
    struct ns_common ns;
};

struct group_info {
    int ngroups;
    kgid_t gid[1];
};

/* One number since Linux 6.3.  Before, two words of 32 bits, the lower word first. */
struct kernel_cap {
    __u64 val;
};

struct cred {
    kuid_t uid, euid;
    kgid_t gid, egid;
    struct kernel_cap cap_effective;
    struct user_namespace *user_ns;
    struct group_info *group_info;
};

struct task_struct {
    unsigned int flags;
    const struct cred *cred;
};

struct netns_ipv4 {
    int sysctl_ip_prot_sock;
};

struct net {
    struct netns_ipv4 ipv4;
};

typedef struct {
    struct net *net;
} possible_net_t;

struct sock_common {
    possible_net_t skc_net;
};

struct sock {
    struct sock_common __sk_common;
};

/* The kernel passes this struct where a bind program sees struct bpf_sock_addr. */
struct bpf_sock_addr_kern {
    struct sock *sk;
};

#pragma clang attribute pop

#define PF_KTHREAD 0x00200000

/* True when the read succeeded.  A failed read leaves zeros, and zeros look like root:
 * every use must check the result. */
#define READ(into, from) (bpf_core_read(&(into), sizeof(into), &(from)) == 0)

/* One load: pybindd may be storing to the same member at this moment. */
#define READ_ONCE(from) (*(volatile typeof(from) *)&(from))

#endif
