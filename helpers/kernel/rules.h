/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * Asks the permission files in the order of helpers/helper/rules.c: byport, byaddr,
 * then byuser and bygroup.  The first file that grants or refuses ends the search.
 * Only a file that is absent in the table leads to the next one; every error refuses.
 *
 * Each step is a global function, so that the verifier checks each only once.
 */
#ifndef PYBIND_RULES_H
#define PYBIND_RULES_H

/* One question to the permission files: may this caller bind this socket address? */
struct question {
    __u64 addr_high, addr_low; /* host byte order; IPv4 in addr_low */
    __u16 port;                /* host byte order */
    __u8 family;               /* 4 or 6; 4 for a v4-mapped address */
    __u8 protocol;             /* TCP or UDP; MPTCP counts as TCP */
};

enum outcome { GO_ON, GRANT, REFUSE };

struct walk {
    struct question question;
    struct caller caller;
    __u32 slot;
    __u32 table, folders; /* struct control's for this slot */
    __u32 file;    /* ident of the struct file that decided */
    __u32 left;    /* 1: that file is LEFT */
};

static __always_inline struct file *look_up(__u32 slot, const struct name *name)
{
    void *table = bpf_map_lookup_elem(&names, &slot);

    return table ? bpf_map_lookup_elem(table, name) : NULL;
}

static __always_inline union detail *detail(__u32 slot, __u32 i)
{
    void *table = bpf_map_lookup_elem(&details, &slot);

    return table ? bpf_map_lookup_elem(table, &i) : NULL;
}

/* Looks at one entry of an access control list, like acl(5) and the kernel's
 * posix_acl_permission().  The entry of a named user decides.  An entry of one of the
 * caller's groups gives the permission if it has it.  If no such entry has it, the
 * caller does not get the permissions of others either. */
struct list_walk {
    struct caller caller;
    __u32 slot, start;
    __u8 wanted;
    /* Not bool: the verifier wants to see that list_step() returns 0 or 1. */
    __u32 named, matched, given, failed;
};

static long list_step(__u32 i, struct list_walk *l)
{
    union detail *d = detail(l->slot, l->start + i);

    l->failed = !d;
    if (!d)
        return 1;
    bool has = (d->entry.permissions & l->wanted) == l->wanted;
    if (!d->entry.is_group) {
        l->named = d->entry.ident == l->caller.uid;
        l->given = l->named && has;
        return l->named;
    }
    int member = caller_in_group(&l->caller, d->entry.ident);
    l->failed = member == UNKNOWN;
    l->matched |= member == MEMBER;
    l->given |= member == MEMBER && has;
    return l->failed || l->given;
}

/* Like access(2): asks the owner, the access control list, the group, the others.
 * In a foreign user namespace, a user can leave a group by setgroups(2), or become
 * a subordinate id.  They could so escape an entry that refuses them, and get what
 * others get.  There the permissions of others do not count, except to read a rule
 * file that everybody may read. */
__noinline int permits(struct caller *c, struct file *f, __u32 slot, __u8 wanted)
{
    if (!c || !f)
        return false;
    if (c->uid == f->uid)
        return (f->owner & wanted) == wanted;
    struct list_walk l = {.caller = *c, .slot = slot, .start = f->start, .wanted = wanted};
    if (f->entry_count)
        bpf_loop(f->entry_count, list_step, &l, 0);
    /* A named user may be here under a subordinate id, and still with their groups: a
     * group counts only when no named user's entry refuses. */
    bool by_group = !c->foreign || (f->users & wanted) == wanted;
    if (l.failed || l.named || l.given)
        return !l.failed && l.given && (l.named || by_group);
    int member = caller_in_group(c, f->gid);
    if (member != OUTSIDE)
        return member == MEMBER && by_group && (f->group & wanted) == wanted;
    if (l.matched)
        return false;
    if (c->foreign && !(wanted == READABLE && f->unanimous & READABLE))
        return false;
    return (f->others & wanted) == wanted;
}

static __always_inline int decide(struct walk *w, const struct file *f, bool grants)
{
    w->file = f->ident;
    w->left = f->state == LEFT;
    return grants && f->state == JUDGED ? GRANT : REFUSE;
}

/* A flag file grants when the caller may execute it, and refuses when it merely
 * exists. */
__noinline int flag_step(struct walk *w, __u8 folder, __u8 protocol)
{
    if (!w)
        return REFUSE;
    const struct question *q = &w->question;
    struct name name = {
        .folder = folder,
        .protocol = protocol,
        .number = q->port,
        .reserved = q->port >= 512 && q->port <= 1023,
    };
    if (folder == BYADDR) {
        name.family = q->family;
        name.addr_high = q->addr_high;
        name.addr_low = q->addr_low;
    }
    struct file *f = look_up(w->slot, &name);
    return f ? decide(w, f, permits(&w->caller, f, w->slot, EXECUTABLE)) : GO_ON;
}

/* Asks byport/, then byaddr/; in each, the file that names a protocol comes first.
 * When a file exists under several spellings of one address, the table has only the
 * one that the helper would find first. */
__noinline int flag_files(struct walk *w)
{
    int outcome = GO_ON;

    if (!w)
        return REFUSE;
    if (w->folders & 1 << BYPORT) {
        outcome = flag_step(w, BYPORT, w->question.protocol);
        if (outcome == GO_ON)
            outcome = flag_step(w, BYPORT, BOTH);
    }
    if (outcome == GO_ON && w->folders & 1 << BYADDR) {
        outcome = flag_step(w, BYADDR, w->question.protocol);
        if (outcome == GO_ON)
            outcome = flag_step(w, BYADDR, BOTH);
    }
    return outcome;
}

static __always_inline bool not_above(__u64 high, __u64 low, __u64 max_high, __u64 max_low)
{
    return high < max_high || (high == max_high && low <= max_low);
}

static __always_inline bool covers(const struct line *l, const struct question *q)
{
    return q->port >= l->port_min && q->port <= l->port_max &&
           (l->protocol == BOTH || l->protocol == q->protocol) &&
           (l->family == 0 ||
            (l->family == q->family &&
             not_above(l->min_high, l->min_low, q->addr_high, q->addr_low) &&
             not_above(q->addr_high, q->addr_low, l->max_high, l->max_low)));
}

struct lines_walk {
    struct question question;
    __u32 slot, start;
    __u32 match, failed;
};

static long line_step(__u32 i, struct lines_walk *l)
{
    union detail *d = detail(l->slot, l->start + i);

    l->failed = !d;
    l->match = d && covers(&d->line, &l->question);
    return l->failed || l->match;
}

/* A broken line cannot occur here: pybindd reads a file to its end before any line
 * of it is in the table. */
__noinline int judge_lines(struct walk *w, struct file *f)
{
    if (!w || !f)
        return REFUSE;
    struct lines_walk l = {.question = w->question, .slot = w->slot,
                           .start = f->start + f->entry_count};
    bpf_loop(f->line_count, line_step, &l, 0);
    if (l.failed)
        return decide(w, f, false);
    return l.match ? decide(w, f, true) : GO_ON;
}

__noinline int rules_step(struct walk *w, __u8 folder, __u32 ident)
{
    if (!w)
        return REFUSE;
    struct name name = {
        .folder = folder,
        .number = ident,
        .reserved = w->question.port >= 512 && w->question.port <= 1023,
    };
    struct file *f = look_up(w->slot, &name);
    if (!f)
        return GO_ON;
    if (f->state != JUDGED || !permits(&w->caller, f, w->slot, READABLE))
        return decide(w, f, false);
    return judge_lines(w, f);
}

struct groups_walk {
    struct walk walk;
    int outcome;
};

static long group_step(__u32 i, struct groups_walk *g)
{
    __u32 gid = 0;

    if (!caller_group(g->walk.caller.groups, i, &gid))
        g->outcome = REFUSE;
    else if (gid != g->walk.caller.gid)
        g->outcome = rules_step(&g->walk, BYGROUP, gid);
    return g->outcome != GO_ON;
}

/* Asks byuser/, then bygroup/: the real group first, then each supplementary group in
 * the order of getgroups(2). */
__noinline int rule_files(struct walk *w)
{
    int outcome = GO_ON;

    if (!w)
        return REFUSE;
    if (w->folders & 1 << BYUSER)
        outcome = rules_step(w, BYUSER, w->caller.uid);
    if (outcome != GO_ON || !(w->folders & 1 << BYGROUP))
        return outcome;
    outcome = rules_step(w, BYGROUP, w->caller.gid);
    if (outcome != GO_ON)
        return outcome;
    struct groups_walk g = {.walk = *w, .outcome = GO_ON};
    bpf_loop(w->caller.group_count, group_step, &g, 0);
    w->file = g.walk.file;
    w->left = g.walk.left;
    return g.outcome;
}

static __always_inline int judge_one(struct walk *w)
{
    int outcome = flag_files(w);

    return outcome == GO_ON ? rule_files(w) : outcome;
}

/* True: the files grant the bind.  Otherwise w->file is the file that refused it. */
static __always_inline bool judge(struct walk *w)
{
    struct question *q = &w->question;

    if (judge_one(w) != GRANT)
        return false;
    if (q->family == 4 || q->addr_high || q->addr_low)
        return true;
    /* A socket on :: takes the IPv4 port too unless IPV6_V6ONLY is set.  Another
     * process can flip that option after the judgement. */
    q->family = 4;
    bool granted = judge_one(w) == GRANT;
    q->family = 6;
    return granted;
}

#endif
