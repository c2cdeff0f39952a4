/* SPDX-License-Identifier: MIT
 *
 * Counts the binds of this process that are under way.  Two callers wait for them:
 *
 * - bind(2).  An intermediate leaves the program's descriptor table in two calls.
 *   Between the two it holds copies of the descriptors below its socket.  When
 *   another thread closes a listening socket and binds the port again, such a copy
 *   may still hold the port.
 * - execve(2).  It ends the thread that waits for an intermediate.  Then nobody
 *   reaps the intermediate, and the new program gets a SIGCHLD for it.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "arch.h"
#include "preload.h"

#define COPIES_GONE_MS 100 /* some time slices: an intermediate may wait for a processor */
#define BINDS_OVER_MS 6000 /* a second more than the helper's own alarm allows */
#define MS_NS 1000000

/* Counts of binds: begun, no longer holding copies, over.  awaiting: the number of
 * threads that wait in futex(2) on dropped or over. */
static unsigned begun, dropped, over, awaiting;
static unsigned epoch;  /* forget() raises it, so that forgotten binds count no more */
static int counted_pid; /* the process whose binds these are */
static int executing;   /* the thread in execve(2), or 0 */

static unsigned get(const unsigned *count)
{
    return __atomic_load_n(count, __ATOMIC_ACQUIRE);
}

static void add(unsigned *count)
{
    __atomic_add_fetch(count, 1, __ATOMIC_ACQ_REL);
    if (get(&awaiting) != 0)
        raw(SYS_futex, count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Gives up the binds under way: nobody waits for them any more. */
static void forget(void)
{
    unsigned all = get(&begun);

    __atomic_add_fetch(&epoch, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&dropped, all, __ATOMIC_RELEASE);
    __atomic_store_n(&over, all, __ATOMIC_RELEASE);
}

/* False in a child of fork(2).  The child has its parent's counts, but the counted
 * binds end in the parent. */
static bool counts_are_ours(void)
{
    return counted_pid == raw(SYS_getpid, 0);
}

/* Waits until *count reaches *wanted, which may grow; returns false after within_ms.
 * It sleeps in futex(2): sched_yield(2) lasts as long as others want the processor. */
static bool reaches(unsigned *count, const unsigned *wanted, long within_ms)
{
    struct duration until = {0};
    unsigned seen;
    long woken = 0;

    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &until);
    until.nanoseconds += within_ms % 1000 * MS_NS;
    until.seconds += within_ms / 1000 + until.nanoseconds / SECOND_NS;
    until.nanoseconds %= SECOND_NS;
    __atomic_add_fetch(&awaiting, 1, __ATOMIC_ACQ_REL);
    while (seen = get(count), (int)(seen - get(wanted)) < 0 &&
           (woken == 0 || woken == -EAGAIN || woken == -EINTR))
        woken = raw(SYS_futex, count, FUTEX_WAIT_BITSET_PRIVATE, seen, &until, NULL,
                    FUTEX_BITSET_MATCH_ANY);
    __atomic_sub_fetch(&awaiting, 1, __ATOMIC_ACQ_REL);
    return (int)(get(count) - get(wanted)) >= 0;
}

/* Counts a bind that begins; waits while another thread is in execve(2).  Signals are
 * blocked, so no handler of this thread binds meanwhile. */
void progress_begin(struct progress *bind)
{
    struct duration pause = {.nanoseconds = MS_NS};

    if (!counts_are_ours()) {
        forget();
        counted_pid = (int)raw(SYS_getpid, 0);
    }
    for (int i = 0;; i++) {
        bind->epoch = get(&epoch);
        bind->holds_copies = 1;
        __atomic_add_fetch(&begun, 1, __ATOMIC_ACQ_REL);
        int tid = __atomic_load_n(&executing, __ATOMIC_ACQUIRE);
        /* tgkill(2): in a child of fork(2), `executing` may name a thread of the parent. */
        if (tid == 0 || tid == raw(SYS_gettid, 0) || i == BINDS_OVER_MS ||
            raw(SYS_tgkill, counted_pid, tid, 0) != 0)
            return;
        progress_drop(bind);
        progress_end(bind);
        raw(SYS_nanosleep, &pause, NULL);
    }
}

/* The bind holds no copies any more.  The intermediate calls it; the program's thread
 * calls it again, because the intermediate may have been killed before. */
void progress_drop(struct progress *bind)
{
    if (__atomic_exchange_n(&bind->holds_copies, 0, __ATOMIC_ACQ_REL) &&
        bind->epoch == get(&epoch))
        add(&dropped);
}

void progress_end(const struct progress *bind)
{
    if (bind->epoch == get(&epoch))
        add(&over);
}

/* The mark for progress_had_copies(), taken before the bind. */
unsigned progress_mark(void)
{
    return get(&dropped);
}

/* own: how many binds the caller itself began since the mark.  Returns true when
 * another bind was under way; its copies had time to go, so the caller tries again. */
bool progress_had_copies(unsigned mark, unsigned own)
{
    unsigned wanted = get(&begun);

    if (wanted - mark == own)
        return false;
    if (!counts_are_ours()) {
        forget();
        return false;
    }
    if (!reaches(&dropped, &wanted, COPIES_GONE_MS))
        forget();
    return true;
}

/* Waits for the binds under way before an execve(2).  Does nothing in a child of
 * vfork(2), which shares this memory. */
void progress_stop(void)
{
    int none = 0;

    if (counted_pid != 0 && counts_are_ours() &&
        __atomic_compare_exchange_n(&executing, &none, (int)raw(SYS_gettid, 0), false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        /* &begun, not its value now: a bind that gives way in progress_begin() raises
         * both counts, so it must not stand for the bind that is waited for. */
        reaches(&over, &begun, BINDS_OVER_MS);
}

/* The execve(2) failed: binds go on. */
void progress_go_on(void)
{
    int tid = __atomic_load_n(&executing, __ATOMIC_ACQUIRE);

    if (tid != 0 && tid == raw(SYS_gettid, 0))
        __atomic_store_n(&executing, 0, __ATOMIC_RELEASE);
}
