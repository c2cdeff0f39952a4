/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * The note that a granted bind leaves for post_bind, which runs in the same thread.
 *
 * The thread's place takes the note without an allocation, which would be a quarter of
 * the time of a bind.  When another thread holds that place, the note goes to the
 * socket's storage.  No note may ever be lost, for without a note post_bind has nothing
 * to confirm: only its own thread takes a note away, however long that thread sleeps.
 */
#ifndef PYBIND_NOTE_H
#define PYBIND_NOTE_H

static __always_inline struct place *place_of(__u64 thread)
{
    __u32 i = thread % PLACES;

    return bpf_map_lookup_elem(&places, &i);
}

/* The kernel holds the socket's lock while one of these programs runs, so nobody else
 * uses the socket's storage meanwhile.  Between bind and post_bind others may. */
static __always_inline struct place *kept_by(struct bpf_sock *socket, __u64 flags)
{
    return bpf_sk_storage_get(&kept_places, socket, NULL, flags);
}

/* Atomic: the next owner writes only after the last use of the note. */
static __always_inline void give_back(struct place *place)
{
    __sync_lock_test_and_set(&place->thread, 0);
}

/* Forgets the note that an earlier bind of this thread left because it failed. */
static __always_inline void drop_note(struct bpf_sock *socket)
{
    __u64 thread = bpf_get_current_pid_tgid();
    struct place *place = place_of(thread), *kept = kept_by(socket, 0);

    if (place && READ_ONCE(place->thread) == thread)
        give_back(place);
    if (kept && kept->thread == thread)
        kept->thread = 0;
}

static __always_inline void write_note(struct note *note, const struct walk *w)
{
    note->addr_high = w->question.addr_high;
    note->addr_low = w->question.addr_low;
    note->file = w->file;
    note->table = w->table;
    note->uid = w->caller.uid;
    note->owner = w->caller.owner;
    note->port = w->question.port;
    note->family = w->question.family;
    note->foreign = w->caller.foreign;
}

/* Leaves a note for post_bind.  False: there is no memory, or the socket keeps a note of
 * another thread.  That thread's bind may still run, or it failed when all places were
 * taken: we cannot tell, so we do not grant. */
static __always_inline bool leave_note(struct bpf_sock_addr *ctx, struct bpf_sock *socket,
                                       const struct walk *w)
{
    __u64 thread = bpf_get_current_pid_tgid();
    struct place *place = place_of(thread);

    if (place && __sync_val_compare_and_swap(&place->thread, 0, thread) == 0) {
        place->socket = bpf_get_socket_cookie(ctx);
        write_note(&place->note, w);
        return true;
    }
    struct place *kept = kept_by(socket, BPF_SK_STORAGE_GET_F_CREATE);
    if (!kept || kept->thread != 0)
        return false;
    kept->thread = thread;
    write_note(&kept->note, w);
    return true;
}

/* Moves the note of this thread's bind of this socket to *taken.  False: there is none.
 * The place may hold the note of another socket: when bind4 is detached for a moment,
 * no drop_note() runs before post_bind. */
static __always_inline bool take_note(struct bpf_sock *socket, struct note *taken)
{
    __u64 thread = bpf_get_current_pid_tgid();
    struct place *place = place_of(thread);

    if (place && READ_ONCE(place->thread) == thread &&
        place->socket == bpf_get_socket_cookie(socket)) {
        *taken = place->note;
        give_back(place);
        return true;
    }
    struct place *kept = kept_by(socket, 0);
    if (!kept || kept->thread != thread)
        return false;
    *taken = kept->note;
    kept->thread = 0;
    return true;
}

#endif
