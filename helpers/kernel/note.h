/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * The note that a granted bind leaves for post_bind, which runs in the same thread.
 *
 * A place of the thread's own takes the note without an allocation, which would be a
 * quarter of the time of a bind.  When another thread holds that place, the note goes
 * to the socket's storage: no note may ever be lost, for without a note post_bind has
 * nothing to confirm.
 */
#ifndef PYBIND_NOTE_H
#define PYBIND_NOTE_H

static __always_inline struct place *place_of(__u64 thread)
{
    __u32 i = thread % PLACES;

    return bpf_map_lookup_elem(&places, &i);
}

/* Forgets the note of an earlier bind of this thread, and that of an earlier bind of
 * this socket. */
static __always_inline void drop_note(struct bpf_sock *socket)
{
    __u64 thread = bpf_get_current_pid_tgid();
    struct place *place = place_of(thread);
    struct note *note = bpf_sk_storage_get(&notes, socket, NULL, 0);

    if (place && READ_ONCE(place->thread) == thread)
        __sync_lock_test_and_set(&place->thread, 0);
    if (note)
        note->port = 0;
}

/* Leaves a note for post_bind.  False: there is no memory for it. */
static __always_inline bool leave_note(struct bpf_sock *socket, const struct walk *w)
{
    struct note new = {.addr_high = w->question.addr_high, .addr_low = w->question.addr_low,
                       .file = w->file, .port = w->question.port, .family = w->question.family,
                       .uid = w->caller.uid, .owner = w->caller.owner,
                       .foreign = w->caller.foreign};
    __u64 thread = bpf_get_current_pid_tgid();
    struct place *place = place_of(thread);

    if (place && __sync_val_compare_and_swap(&place->thread, 0, thread) == 0) {
        place->note = new;
        return true;
    }
    struct note *note = bpf_sk_storage_get(&notes, socket, &new, BPF_SK_STORAGE_GET_F_CREATE);
    if (note)
        *note = new; /* an earlier bind may have left a note */
    return note;
}

/* Moves the note to *taken.  False: there is none. */
static __always_inline bool take_note(struct bpf_sock *socket, struct note *taken)
{
    __u64 thread = bpf_get_current_pid_tgid();
    struct place *place = place_of(thread);

    if (place && READ_ONCE(place->thread) == thread) {
        *taken = place->note;
        /* A full barrier: the next owner must not write before the note is read. */
        __sync_lock_test_and_set(&place->thread, 0);
        return true;
    }
    struct note *note = bpf_sk_storage_get(&notes, socket, NULL, 0);
    if (!note || note->port == 0)
        return false;
    *taken = *note;
    note->port = 0;
    return true;
}

#endif
