/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Binds in a child: after fork, after a daemon's double fork, and after vfork
 * (which POSIX forbids, but servers do).
 */
#include "common.h"

static void must_exit_zero(pid_t pid)
{
    int status = -1;

    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    REQUIRE(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
}

static pid_t daemon_fork(int fd)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    setsid();
    pid = fork();
    if (pid == 0)
        must_bind(fd, 2);
    else
        must_exit_zero(pid);
    _exit(0);
}

int main(void)
{
    int one = socket(AF_INET, SOCK_STREAM, 0), two = socket(AF_INET, SOCK_STREAM, 0);
    int three = socket(AF_INET, SOCK_STREAM, 0);
    pid_t pid = fork();

    if (pid == 0) {
        must_bind(one, 1);
        _exit(0);
    }
    must_exit_zero(pid);
    must_exit_zero(daemon_fork(two));
    pid = vfork();
    if (pid == 0) {
        must_bind(three, 3);
        _exit(0);
    }
    must_exit_zero(pid);
    /* The sockets are shared, so the parent can listen on those that its children bound. */
    REQUIRE(listen(one, 5) == 0 && listen(two, 5) == 0 && listen(three, 5) == 0);
    return 0;
}
