/* SPDX-License-Identifier: MIT
 *
 * Starts one pybind-helper for one bind(), so that the program notices nothing.
 *
 * program thread --clone(VM|VFORK, no exit signal)--> intermediate
 *                                  intermediate --clone(VM|VFORK)--> helper
 *
 * The intermediate has a descriptor table of its own, so the socketpair never
 * shows in the program's; it is its own parent of the helper, so no SIGCHLD and
 * no waitpid(-1) of the program meets it; its memory is the program's, so it
 * costs the same at any size.  An exit signal of 0 lets the program's wait(2)
 * calls pass it by (only __WALL would see it).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "arch.h"
#include "preload.h"

#define SIGSET_LEN 8     /* the kernel's sigset_t */
#define HELPER_GONE_S 10 /* twice what the helper's own alarm allows */
#define COPIES_GONE_NS 100000000 /* some time slices: a busy processor holds an intermediate up */
#define SECOND_NS 1000000000

/* struct timespec as these system calls of every machine know it: libc's has 64
 * bits for the seconds on some with 32. */
struct duration {
    long seconds, nanoseconds;
};

struct job {
    int fd;
    const struct pb_request *request;
    struct pb_reply *reply;
    int pair[2];
    unsigned epoch;
    int holds_copies; /* an int: of one byte some machines' compilers call libatomic */
    enum spawn_result result;
    int helper_pid;
    long exec_error; /* negative errno of the helper's execve(2), 0 when it ran */
};

/* Intermediates started, and those that hold no copy of the program's
 * descriptors any more; a futex(2) word for who waits for them. */
static unsigned copies_made, copies_dropped, copies_awaited;
static unsigned copies_epoch; /* one more whenever those that are missing were given up */
static int counted_pid;       /* the process whose intermediates these are */

/* For spawn_had_copies(): to be taken before the bind. */
unsigned spawn_mark(void)
{
    return __atomic_load_n(&copies_dropped, __ATOMIC_ACQUIRE);
}

/* Those that are missing will not be waited for again. */
static void forget_copies(void)
{
    __atomic_add_fetch(&copies_epoch, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&copies_dropped, __atomic_load_n(&copies_made, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
}

/* True in a child made by fork(2) while another thread's intermediate ran: the
 * child has the counts and not the intermediate, which ends elsewhere. */
static bool counts_are_anothers(void)
{
    return counted_pid != raw(SYS_getpid, 0);
}

static void count_copies(struct job *job)
{
    if (counts_are_anothers()) {
        forget_copies();
        counted_pid = (int)raw(SYS_getpid, 0);
    }
    job->epoch = __atomic_load_n(&copies_epoch, __ATOMIC_ACQUIRE);
    __atomic_add_fetch(&copies_made, 1, __ATOMIC_ACQ_REL);
}

/* A thread that closes a listening socket and binds its port again may meet
 * the copy that an intermediate of another thread made in between.  own: the
 * intermediates that the caller itself started since the mark.  True when
 * there was another, and it had the time to go: the caller tries again.  By
 * the clock, because a yield can last as long as others want the processor. */
bool spawn_had_copies(unsigned mark, unsigned own)
{
    unsigned made = __atomic_load_n(&copies_made, __ATOMIC_ACQUIRE), dropped;
    struct duration until = {0};

    if (made - mark == own)
        return false;
    if (counts_are_anothers()) {
        forget_copies();
        return false;
    }
    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &until);
    until.nanoseconds += COPIES_GONE_NS;
    until.seconds += until.nanoseconds / SECOND_NS;
    until.nanoseconds %= SECOND_NS;
    __atomic_add_fetch(&copies_awaited, 1, __ATOMIC_ACQ_REL);
    while ((int)((dropped = spawn_mark()) - made) < 0) {
        long woken = raw(SYS_futex, &copies_dropped, FUTEX_WAIT_BITSET_PRIVATE, dropped, &until,
                         NULL, FUTEX_BITSET_MATCH_ANY);
        if (woken != 0 && woken != -EAGAIN && woken != -EINTR) {
            forget_copies();
            break;
        }
    }
    __atomic_sub_fetch(&copies_awaited, 1, __ATOMIC_ACQ_REL);
    return true;
}

static void drop_copies(struct job *job)
{
    if (!__atomic_exchange_n(&job->holds_copies, 0, __ATOMIC_ACQ_REL) ||
        job->epoch != __atomic_load_n(&copies_epoch, __ATOMIC_ACQUIRE))
        return;
    __atomic_add_fetch(&copies_dropped, 1, __ATOMIC_ACQ_REL);
    if (__atomic_load_n(&copies_awaited, __ATOMIC_ACQUIRE) != 0)
        raw(SYS_futex, &copies_dropped, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static _Noreturn void exit_now(void)
{
    for (;;)
        raw(SYS_exit_group, 0);
}

/* In the helper's process, before execve(2): the socket becomes 3, the reply
 * socket 0.  Both are first moved out of each other's way. */
static void become_helper(void *arg)
{
    struct job *job = arg;
    static const char *const argv[] = {"pybind-helper", NULL}, *const envp[] = {NULL};
    long socket_fd = raw(SYS_fcntl, job->fd, F_DUPFD, PB_SOCKET_FD + 1);
    long reply_fd = raw(SYS_fcntl, job->pair[1], F_DUPFD, PB_SOCKET_FD + 1);

    if (socket_fd >= 0 && reply_fd >= 0 && raw(SYS_dup3, socket_fd, PB_SOCKET_FD, 0) >= 0 &&
        raw(SYS_dup3, reply_fd, PB_REPLY_FD, 0) >= 0)
        job->exec_error = raw(SYS_execve, HELPER_PATH, argv, envp);
    exit_now();
}

/* Closes all but the socket and, where -v asked for reports, descriptor 2. */
static long close_others(int fd)
{
    int low = limits_verbose && fd > 2 ? 3 : 0, high = fd + 1;
    long result = 0;

    if (limits_verbose && fd > 2)
        result |= raw(SYS_close_range, 0, 1, 0);
    if (limits_verbose && fd < 2) {
        result |= fd == 0 ? raw(SYS_close_range, 1, 1, 0) : raw(SYS_close_range, 0, 0, 0);
        low = fd;
        high = 3;
    }
    if (fd > low)
        result |= raw(SYS_close_range, low, fd - 1, 0);
    return result | raw(SYS_close_range, high, ~0u, 0);
}

/* After the helper's end: what it sent waits in our queue. */
static bool receive_reply(struct job *job)
{
    struct pb_reply *reply = job->reply;
    long got = raw(SYS_recvfrom, job->pair[0], reply, sizeof *reply, MSG_DONTWAIT, NULL, NULL);

    /* After an upgrade under a running program: the first eight bytes are all
     * that the two versions share. */
    if (got >= 8 && reply->magic == PB_MAGIC && reply->reason == PB_REASON_VERSION) {
        *reply = (struct pb_reply){.reason = PB_REASON_VERSION, .error = EACCES};
        return true;
    }
    return got == sizeof *reply && reply->magic == PB_MAGIC && reply->version == PB_VERSION;
}

static void intermediate(void *arg)
{
    struct job *job = arg;
    uint64_t dfl[8] = {0}; /* struct sigaction of any kernel: SIG_DFL, no flags */

    /* A signal to the program's process group (Ctrl-C, Ctrl-Z, kill -HUP -PGID) is
     * not for the helper, which would die or stop of what the program handles. */
    raw(SYS_setpgid, 0, 0);
    /* Ignored SIGCHLD would reap the helper before it is waited for. */
    raw(SYS_rt_sigaction, SIGCHLD, dfl, NULL, SIGSET_LEN);
    if (close_others(job->fd) != 0)
        exit_now();
    drop_copies(job);
    if (raw(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, job->pair) != 0 ||
        raw(SYS_sendto, job->pair[0], job->request, sizeof *job->request, MSG_NOSIGNAL, NULL,
            0) != sizeof *job->request)
        exit_now();
    job->result = SPAWN_VANISHED;
    if (vfork_call(CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD, &job->helper_pid,
                   become_helper, job) < 0) {
        job->result = SPAWN_FAILED;
        exit_now();
    }
    /* The program may close and bind again only when the helper's copy is gone. */
    while (raw(SYS_wait4, job->helper_pid, NULL, __WALL, NULL) == -EINTR)
        ;
    job->helper_pid = 0;
    bool answered = receive_reply(job);
    if (answered)
        job->result = SPAWN_ANSWERED;
    else if (job->exec_error)
        job->result = SPAWN_FAILED;
    if (limits_verbose)
        report(2, job->request, answered ? job->reply : NULL, (int)-job->exec_error);
    exit_now();
}

/* The intermediate was killed while its helper ran.  The helper must not bind
 * after this call has told the program that it failed. */
static void outlive_helper(int pid)
{
    struct duration limit = {.seconds = HELPER_GONE_S};
    struct pollfd gone = {.events = POLLIN};

    raw(SYS_kill, pid, SIGKILL);
    /* A pidfd tells even where nobody reaps the orphan. */
    gone.fd = (int)raw(SYS_pidfd_open, pid, 0);
    if (gone.fd >= 0) {
        raw(SYS_ppoll, &gone, 1, &limit, NULL, SIGSET_LEN);
        raw(SYS_close, gone.fd);
    } else if (gone.fd != -ESRCH) { /* no descriptor left */
        limit = (struct duration){.nanoseconds = 1000000};
        for (int i = 0; i < HELPER_GONE_S * 1000 && raw(SYS_kill, pid, 0) == 0 &&
                        raw(SYS_wait4, pid, NULL, WNOHANG | __WALL, NULL) != pid; i++)
            raw(SYS_nanosleep, &limit, NULL);
    }
    raw(SYS_wait4, pid, NULL, WNOHANG | __WALL, NULL); /* as PID 1 or subreaper */
}

/* SPAWN_ANSWERED: *reply is the helper's.  SPAWN_VANISHED: it was started and
 * died unheard, so only the socket knows.  SPAWN_FAILED: it never ran. */
enum spawn_result spawn_helper(int fd, const struct pb_request *request, struct pb_reply *reply)
{
    struct job job = {.fd = fd, .request = request, .reply = reply, .holds_copies = 1};
    uint64_t all = ~0ull, old; /* SIGSET_LEN bytes */

    job.result = SPAWN_FAILED;
    /* A handler of the program must not run on memory shared with a child. */
    if (raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, SIGSET_LEN) != 0)
        return SPAWN_FAILED;
    count_copies(&job);
    long pid = vfork_call(CLONE_VM | CLONE_VFORK, NULL, intermediate, &job);
    drop_copies(&job);
    if (pid > 0) {
        while (raw(SYS_wait4, pid, NULL, __WALL, NULL) == -EINTR)
            ;
        if (job.helper_pid > 0)
            outlive_helper(job.helper_pid);
    }
    raw(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, SIGSET_LEN);
    return job.result;
}
