/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * Who binds: the credentials of the calling thread at this moment.  They are read
 * from task->cred, which for a bind by io_uring are those of its personality.
 */
#ifndef PYBIND_CALLER_H
#define PYBIND_CALLER_H

#define CAP_NET_BIND_SERVICE 10
#define GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */
#define GROUP_STEPS 17   /* halvings of GROUPS_MAX groups until none is left */
#define NAMESPACES_MAX 33 /* user namespaces within each other, by the kernel's limit */

struct caller {
    __u64 groups; /* kernel address of the first supplementary gid */
    __u32 group_count;
    __u32 uid, gid; /* the real ones */
    __u32 owner;   /* foreign: uid that owns the outermost foreign namespace; else uid */
    __u8 foreign;  /* in a user namespace other than pybindd's */
    __u8 capable;  /* has CAP_NET_BIND_SERVICE already */
    __u8 two_fold; /* real and effective ids differ */
};

/* The bytes of the caller's struct cred are copied at once; MEMBER finds one in them. */
#define CRED_MAX 256
#define MEMBER(type, copy, name) (*(type *)((copy) + bpf_core_field_offset(struct cred, name)))

/* The set is a __u64 since Linux 6.3.  Before, it was two __u32 with the low one first, at an
 * offset that 8 does not divide: the verifier refuses a __u64 from there. */
static __always_inline bool has_capability(const __u8 *copy)
{
    __u32 low = MEMBER(__u32, copy, cap_effective);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    struct cred *cred = NULL;
    if (bpf_core_field_exists(cred->cap_effective.val))
        low = *(__u32 *)(copy + bpf_core_field_offset(struct cred, cap_effective) + sizeof low);
#endif
    return low & 1u << CAP_NET_BIND_SERVICE;
}

/* Finds the user who made a foreign user namespace.  The log's limit counts for this
 * user: a user with many subordinate ids must not get a share for each of them. */
struct outermost {
    __u64 namespace;
    __u32 userns_inum, owner;
};

static long outermost_step(__u32 i, struct outermost *o)
{
    struct user_namespace *namespace = (void *)o->namespace, *parent = NULL;
    __u32 inum = 0;
    kuid_t owner = {0};

    if (!READ(inum, namespace->ns.inum) || inum == o->userns_inum ||
        !READ(owner, namespace->owner) || !READ(parent, namespace->parent) || !parent)
        return 1;
    o->owner = owner.val;
    o->namespace = (__u64)parent;
    return 0;
}

/* Fills c.  Returns false when a part could not be read: then nothing may be granted. */
__noinline int caller_read(struct caller *c, __u32 userns_inum)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    __u64 ids = bpf_get_current_uid_gid();
    const struct cred *cred = NULL;
    __u8 copy[CRED_MAX] __attribute__((aligned(8)));
    __u32 flags = 0, inum = 0, size = bpf_core_type_size(struct cred);
    int count = 0;

    if (!c || !task || !READ(flags, task->flags) || flags & PF_KTHREAD ||
        !READ(cred, task->cred) || !cred || size == 0 || size > sizeof copy ||
        bpf_probe_read_kernel(copy, size, cred) != 0)
        return false;
    struct user_namespace *userns = MEMBER(struct user_namespace *, copy, user_ns);
    struct group_info *groups = MEMBER(struct group_info *, copy, group_info);
    if (!userns || !READ(inum, userns->ns.inum) || inum == 0 || !groups ||
        !READ(count, groups->ngroups) || count < 0 || count > GROUPS_MAX)
        return false;
    c->uid = MEMBER(__u32, copy, uid);
    c->gid = MEMBER(__u32, copy, gid);
    if (c->uid != (__u32)ids || c->gid != ids >> 32)
        return false; /* the copy contradicts the kernel's own helper function */
    c->two_fold = c->uid != MEMBER(__u32, copy, euid) || c->gid != MEMBER(__u32, copy, egid);
    c->group_count = count;
    c->groups = (__u64)groups + bpf_core_field_offset(struct group_info, gid);
    c->foreign = inum != userns_inum;
    c->capable = !c->foreign && has_capability(copy);
    c->owner = c->uid;
    if (c->foreign) {
        struct outermost o = {.namespace = (__u64)userns, .userns_inum = userns_inum};
        bpf_loop(NAMESPACES_MAX, outermost_step, &o, 0);
        c->owner = o.owner;
    }
    return true;
}

static __always_inline bool caller_group(__u64 groups, __u32 i, __u32 *gid)
{
    return bpf_probe_read_kernel(gid, sizeof *gid, (void *)(groups + i * sizeof *gid)) == 0;
}

enum membership { OUTSIDE, MEMBER, UNKNOWN };

/* Like the kernel's groups_search(): the kernel keeps the list sorted, so the search
 * halves it. */
__noinline int caller_in_group(struct caller *c, __u32 gid)
{
    if (!c)
        return UNKNOWN;
    if (c->gid == gid)
        return MEMBER;
    __u32 low = 0, high = c->group_count;
    for (int step = 0; step < GROUP_STEPS && low < high; step++) {
        __u32 middle = (low + high) / 2, found = 0;
        if (!caller_group(c->groups, middle, &found))
            return UNKNOWN;
        if (found == gid)
            return MEMBER;
        if (found < gid)
            low = middle + 1;
        else
            high = middle;
    }
    return OUTSIDE;
}

#endif
