/* SPDX-License-Identifier: MIT
 *
 * Starts one pybind-helper for one bind(), unseen by the program.
 *
 * program thread --clone(VM|VFORK, no exit signal)--> intermediate
 *                                  intermediate --clone(VM|VFORK)--> helper
 *
 * - The intermediate leaves the program's descriptor table, so the socketpair never
 *   shows there.
 * - The intermediate, not the program, is the helper's parent.  So the program gets no
 *   SIGCHLD of the helper, and no waitpid(-1) reaps the helper.
 * - The intermediate shares the program's memory, so a start costs the same for a
 *   program of any size.
 * - The intermediate's exit signal is 0, so the program's wait(2) calls do not see the
 *   intermediate (only __WALL would).
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

/* Runs in the helper's process.  The program's socket becomes descriptor 3, the reply
 * socket 0 to 2; both first move out of each other's way.  Descriptors 1 and 2 are not
 * left closed: libc would open /dev/null for them before main() of a program with
 * capabilities, and /dev/null may be missing or hang. */
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

/* Leaves the program's descriptor table and keeps only fd.  The first call does not
 * copy descriptors above fd.  It copies those below fd, which the second call closes
 * (progress.c). */
static bool keep_only(int fd)
{
    return raw(SYS_close_range, fd + 1u, ~0u, CLOSE_RANGE_UNSHARE) == 0 &&
           (fd == 0 || raw(SYS_close_range, 0, fd - 1, 0) == 0);
}

/* Reads the reply after the helper has ended: the reply waits in the socket's queue. */
static bool receive_reply(struct job *job)
{
    struct pb_reply *reply = &job->outcome->reply;
    long got = raw(SYS_recvfrom, job->pair[0], reply, sizeof *reply, MSG_DONTWAIT, NULL, NULL);

    /* An upgrade under a running program: the two versions share only the first eight
     * bytes. */
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
    /* Asked here and not in the program: a seccomp filter that kills for prctl(2) kills
     * this process only. */
    done = raw(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    job->outcome->no_new_privs = done > 0;
    if (done > 0)
        exit_now();
    if (done < 0)
        return done;
    /* The program may handle a signal to its process group (Ctrl-C, Ctrl-Z, kill -HUP
     * -PGID).  The helper would die or stop, so it must not be in that group. */
    raw(SYS_setpgid, 0, 0);
    /* With SIGCHLD ignored, the kernel would reap the helper before wait4(2). */
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
    /* The helper has a copy of the socket: while it lives, the program could not close
     * the socket and bind the port again. */
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

/* The intermediate was killed while its helper ran.  The program will be told that the
 * bind failed, so the helper must not bind afterwards: kill it, and wait for its end. */
static void outlive_helper(int pid)
{
    struct duration limit = {.seconds = HELPER_GONE_S};
    struct pollfd gone = {.events = POLLIN};

    raw(SYS_kill, pid, SIGKILL);
    /* A pidfd shows the end of the helper even where nobody reaps an orphan. */
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

/* Calls fn in a process that shares memory and descriptors with this one.  fn must end
 * that process.  Returns its status in the form of wait4(2), or a negative errno. */
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

/* Starts a helper for the socket fd and fills outcome->result:
 *   SPAWN_ANSWERED  outcome->reply is the helper's
 *   SPAWN_VANISHED  the helper started and died without a reply: only the socket knows
 *   SPAWN_FAILED    the helper never ran */
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
