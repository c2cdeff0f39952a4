/* SPDX-License-Identifier: MIT
 *
 * The binds of this process that are under way, for two who have to wait:
 *
 * - Between the two calls with which an intermediate leaves the program's
 *   descriptor table it holds copies of the descriptors below its socket.  A
 *   thread that closes a listening socket and binds its port again may meet
 *   such a copy.
 * - execve(2) ends the thread that waits for its intermediate: nobody reaps
 *   that, and the new program gets a SIGCHLD for it.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "arch.h"
#include "preload.h"

#define COPIES_GONE_MS 100 /* some time slices: a busy processor holds an intermediate up */
#define BINDS_OVER_MS 6000 /* one more than the helper's own alarm allows */
#define MS_NS 1000000

/* Binds begun, those that hold no copy any more, and those that are over; the
 * latter two are futex(2) words for the awaiting. */
static unsigned begun, dropped, over, awaiting;
static unsigned epoch;  /* one more whenever those that are missing were given up */
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

/* Those that are missing will not be waited for again. */
static void forget(void)
{
    unsigned all = get(&begun);

    __atomic_add_fetch(&epoch, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&dropped, all, __ATOMIC_RELEASE);
    __atomic_store_n(&over, all, __ATOMIC_RELEASE);
}

/* False in a child made by fork(2) while another thread's bind was under way:
 * the child has the counts and not the bind, which ends elsewhere. */
static bool counts_are_ours(void)
{
    return counted_pid == raw(SYS_getpid, 0);
}

/* Waits until *count has reached *wanted, which may grow; false when that did not
 * come.  By the clock, because a yield lasts as long as others want the processor. */
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

/* Signals are blocked: no handler of this thread binds while it waits here. */
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
        /* A child may have it from a thread that only its parent has. */
        if (tid == 0 || tid == raw(SYS_gettid, 0) || i == BINDS_OVER_MS ||
            raw(SYS_tgkill, counted_pid, tid, 0) != 0)
            return;
        progress_drop(bind);
        progress_end(bind);
        raw(SYS_nanosleep, &pause, NULL);
    }
}

/* By the intermediate, and again by its parent, in case it was killed. */
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

/* For progress_had_copies(): to be taken before the bind. */
unsigned progress_mark(void)
{
    return get(&dropped);
}

/* own: the binds that the caller itself began since the mark.  True when there
 * was another, and its copies had the time to go: the caller tries again. */
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

/* Before an execve(2) of this process, not of a child that shares its memory. */
void progress_stop(void)
{
    int none = 0;

    if (counted_pid != 0 && counts_are_ours() &&
        __atomic_compare_exchange_n(&executing, &none, (int)raw(SYS_gettid, 0), false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        /* Of begun as it becomes: a bind that gives way is over as well, and is not the
         * one that is waited for. */
        reaches(&over, &begun, BINDS_OVER_MS);
}

/* The execve(2) failed: binds go on. */
void progress_go_on(void)
{
    int tid = __atomic_load_n(&executing, __ATOMIC_ACQUIRE);

    if (tid != 0 && tid == raw(SYS_gettid, 0))
        __atomic_store_n(&executing, 0, __ATOMIC_RELEASE);
}
