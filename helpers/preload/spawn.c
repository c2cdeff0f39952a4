/* SPDX-License-Identifier: MIT
 *
 * Starts one pybind-helper for one bind(), so that the program notices nothing.
 *
 * program thread --clone(VM|VFORK, no exit signal)--> intermediate
 *                                  intermediate --clone(VM|VFORK)--> helper
 *
 * The intermediate soon has a descriptor table of its own, so the socketpair
 * never shows in the program's; it is its own parent of the helper, so no
 * SIGCHLD and no waitpid(-1) of the program meets it; its memory is the
 * program's, so it costs the same at any size.  An exit signal of 0 lets the
 * program's wait(2) calls pass it by (only __WALL would see it).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/prctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "arch.h"
#include "preload.h"

#define HELPER_GONE_S 10 /* twice what the helper's own alarm allows */

struct job {
    int fd;
    const struct pb_request *request;
    struct outcome *outcome;
    int pair[2];
    struct progress progress;
    int helper_pid;
};

static _Noreturn void exit_now(void)
{
    for (;;)
        raw(SYS_exit_group, 0);
}

/* In the helper's process, before execve(2): the socket becomes 3, the reply
 * socket 0 to 2.  Both are first moved out of each other's way.  A libc opens
 * /dev/null in the place of a missing 0, 1 or 2 of a program with capabilities,
 * before main(): there may be none, or one that hangs. */
static void become_helper(void *arg)
{
    struct job *job = arg;
    static const char *const argv[] = {"pybind-helper", NULL}, *const envp[] = {NULL};
    long socket_fd = raw(SYS_fcntl, job->fd, F_DUPFD, PB_SOCKET_FD + 1);
    long reply_fd = raw(SYS_fcntl, job->pair[1], F_DUPFD, PB_SOCKET_FD + 1);
    long done = socket_fd < 0 ? socket_fd : reply_fd;

    if (done >= 0)
        done = raw(SYS_dup3, socket_fd, PB_SOCKET_FD, 0);
    for (int fd = PB_REPLY_FD; fd < PB_SOCKET_FD && done >= 0; fd++)
        done = raw(SYS_dup3, reply_fd, fd, 0);
    if (done >= 0)
        done = raw(SYS_execve, HELPER_PATH, argv, envp);
    job->outcome->error = (int)-done;
    exit_now();
}

/* Leaves the program's descriptor table with no more than one descriptor.  The
 * first call copies none that is far above it; those below are copies until the
 * second is through (progress.c). */
static bool keep_only(int fd)
{
    return raw(SYS_close_range, fd + 1u, ~0u, CLOSE_RANGE_UNSHARE) == 0 &&
           (fd == 0 || raw(SYS_close_range, 0, fd - 1, 0) == 0);
}

/* After the helper's end: what it sent waits in our queue. */
static bool receive_reply(struct job *job)
{
    struct pb_reply *reply = &job->outcome->reply;
    long got = raw(SYS_recvfrom, job->pair[0], reply, sizeof *reply, MSG_DONTWAIT, NULL, NULL);

    /* After an upgrade under a running program: the first eight bytes are all
     * that the two versions share. */
    if (got >= 8 && reply->magic == PB_MAGIC && reply->reason == PB_REASON_VERSION) {
        *reply = (struct pb_reply){.reason = PB_REASON_VERSION, .error = EACCES};
        return true;
    }
    return got == sizeof *reply && reply->magic == PB_MAGIC && reply->version == PB_VERSION;
}

/* Returns 0, or the negative errno of what failed before the helper was started. */
static long prepare(struct job *job)
{
    uint64_t dfl[8] = {0}; /* struct sigaction of any kernel: SIG_DFL, no flags */
    long done;

    if (!keep_only(job->fd))
        exit_now();
    progress_drop(&job->progress);
    /* Here, and not in the program: a filter that kills for the question kills this
     * process only. */
    done = raw(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    job->outcome->no_new_privs = done > 0;
    if (done > 0)
        exit_now();
    if (done < 0)
        return done;
    /* A signal to the program's process group (Ctrl-C, Ctrl-Z, kill -HUP -PGID) is
     * not for the helper, which would die or stop of what the program handles. */
    raw(SYS_setpgid, 0, 0);
    /* Ignored SIGCHLD would reap the helper before it is waited for. */
    raw(SYS_rt_sigaction, SIGCHLD, dfl, NULL, SIGSET_LEN);
    done = raw(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, job->pair);
    if (done == 0)
        done = raw(SYS_sendto, job->pair[0], job->request, sizeof *job->request, MSG_NOSIGNAL,
                   NULL, 0);
    return done < 0 ? done : 0;
}

static void intermediate(void *arg)
{
    struct job *job = arg;
    struct outcome *outcome = job->outcome;
    long done = prepare(job);
    int status = 0;

    if (done == 0) {
        outcome->result = SPAWN_VANISHED;
        outcome->started = true;
        done = vfork_call(CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD,
                          &job->helper_pid, become_helper, job);
    }
    if (done < 0) {
        outcome->result = SPAWN_FAILED;
        outcome->error = (int)-done;
        exit_now();
    }
    /* The program may close and bind again only when the helper's copy is gone. */
    while (raw(SYS_wait4, job->helper_pid, &status, __WALL, NULL) == -EINTR)
        ;
    job->helper_pid = 0;
    outcome->signal = WTERMSIG(status);
    if (receive_reply(job))
        outcome->result = SPAWN_ANSWERED;
    else if (outcome->error)
        outcome->result = SPAWN_FAILED;
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

/* Calls fn in a process that shares memory and descriptors, which fn must not
 * return from.  Returns its status as of wait4(2), or a negative errno. */
long spawn_apart(void (*fn)(void *), void *arg)
{
    int status = 0;
    long pid = vfork_call(CLONE_VM | CLONE_VFORK | CLONE_FILES, NULL, fn, arg);

    if (pid < 0)
        return pid;
    while (raw(SYS_wait4, pid, &status, __WALL, NULL) == -EINTR)
        ;
    return status;
}

/* SPAWN_ANSWERED: outcome->reply is the helper's.  SPAWN_VANISHED: it was
 * started and died unheard, so only the socket knows.  SPAWN_FAILED: it never
 * ran. */
void spawn_helper(int fd, const struct pb_request *request, struct outcome *outcome)
{
    struct job job = {.fd = fd, .request = request, .outcome = outcome};
    uint64_t all = ~0ull, old; /* SIGSET_LEN bytes */

    *outcome = (struct outcome){.result = SPAWN_FAILED};
    /* A handler of the program must not run on memory shared with a child. */
    outcome->error = (int)-raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, SIGSET_LEN);
    if (outcome->error)
        return;
    progress_begin(&job.progress);
    long status = spawn_apart(intermediate, &job);
    progress_drop(&job.progress);
    if (status < 0)
        outcome->error = (int)-status;
    else if (WTERMSIG(status))
        outcome->signal = WTERMSIG(status);
    if (job.helper_pid > 0)
        outlive_helper(job.helper_pid);
    progress_end(&job.progress);
    raw(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, SIGSET_LEN);
}
