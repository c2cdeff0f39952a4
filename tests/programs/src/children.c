/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * children MODE: binds where a stray child or signal of the library would show.
 *   ignored    SIGCHLD is ignored, and must stay so
 *   blocked    every signal is blocked, and none may be pending afterwards
 *   subreaper  this program adopts orphans, and must get none
 *   pid1       the same as PID 1 of a PID namespace
 */
#include "common.h"

#include <sys/prctl.h>

static void no_child(void)
{
    REQUIRE(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void bind_ignoring(void)
{
    struct sigaction action;

    signal(SIGCHLD, SIG_IGN);
    bind_and_close(1);
    REQUIRE(sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    /* SIGCHLD is still ignored: the kernel reaps, and wait(2) finds no child. */
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    REQUIRE(waitpid(pid, NULL, 0) == -1 && errno == ECHILD);
}

static void bind_blocking(void)
{
    sigset_t all, now, pending;

    sigfillset(&all);
    REQUIRE(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    signal(SIGCHLD, SIG_DFL);
    bind_and_close(1);
    REQUIRE(sigpending(&pending) == 0);
    for (int sig = 1; sig < NSIG; sig++)
        REQUIRE(sigismember(&pending, sig) != 1);
    REQUIRE(sigprocmask(SIG_SETMASK, NULL, &now) == 0);
    for (int sig = 1; sig < NSIG; sig++)
        REQUIRE(sig == SIGKILL || sig == SIGSTOP || sigismember(&now, sig) == sigismember(&all, sig));
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    if (strcmp(mode, "ignored") == 0) {
        bind_ignoring();
    } else if (strcmp(mode, "blocked") == 0) {
        bind_blocking();
    } else if (strcmp(mode, "subreaper") == 0) {
        REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    } else {
        REQUIRE(strcmp(mode, "pid1") == 0 && getpid() == 1);
    }
    for (int i = 0; i < 50; i++) {
        bind_and_close(1);
        no_child();
    }
    return 0;
}
