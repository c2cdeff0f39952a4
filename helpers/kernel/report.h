/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * Reports grants and refusals to pybindd, for the log.  A user who binds in a loop
 * uses up their own share of the log, never another user's.
 */
#ifndef PYBIND_REPORT_H
#define PYBIND_REPORT_H

#define SECOND_NS 1000000000ull
#define RECORDS_A_SECOND 20

/* Returns whether a record may be reported now.  *lost: records that were dropped
 * before this one.  Two processors that count at the same time may lose a step, so
 * this user's limit can be a little off. */
static __always_inline bool within_budget(struct whose *whose, __u64 *lost)
{
    __u64 now = bpf_ktime_get_coarse_ns();
    struct budget *budget = bpf_map_lookup_elem(&budgets, whose);

    if (!budget) {
        struct budget first = {.since_ns = now, .used = 1};
        bpf_map_update_elem(&budgets, whose, &first, BPF_ANY);
        return true;
    }
    if (now - budget->since_ns >= SECOND_NS) {
        budget->since_ns = now;
        budget->used = 0;
    }
    if (budget->used >= RECORDS_A_SECOND) {
        __sync_fetch_and_add(&budget->lost, 1);
        return false;
    }
    __sync_fetch_and_add(&budget->used, 1);
    *lost = budget->lost;
    budget->lost = 0;
    return true;
}

/* Returns 1 when a record was written.  pybindd reads the records once a second, so a
 * bind wakes pybindd only when the buffer is more than half full. */
__noinline int report(struct caller *c, struct question *q, __u32 file, __u8 event)
{
    __u64 lost = 0;

    if (!c || !q)
        return 0;
    struct whose whose = {.uid = c->owner, .granted = event == GRANTED};
    if (!within_budget(&whose, &lost))
        return 0;
    struct record *r = bpf_ringbuf_reserve(&records, sizeof *r, 0);
    if (!r) {
        struct budget *budget = bpf_map_lookup_elem(&budgets, &whose);
        if (budget)
            __sync_fetch_and_add(&budget->lost, lost + 1);
        return 0;
    }
    r->addr_high = q->addr_high;
    r->addr_low = q->addr_low;
    r->lost = lost;
    r->uid = c->uid;
    r->tgid = bpf_get_current_pid_tgid() >> 32;
    r->file = file;
    r->port = q->port;
    r->family = q->family;
    r->udp = q->protocol == UDP;
    r->event = event;
    r->foreign = c->foreign;
    __builtin_memset(r->zero, 0, sizeof r->zero);
    if (bpf_get_current_comm(r->comm, sizeof r->comm) != 0)
        r->comm[0] = 0;
    bool much = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) > 1 << 19;
    bpf_ringbuf_submit(r, much ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
    return 1;
}

#endif
