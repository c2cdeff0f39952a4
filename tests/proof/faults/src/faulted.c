/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * faulted [COUNT [subreaper|high|blocked]]: binds 127.80.0.1:80 while a test makes a
 * step fail, and prints "bound" or the errno.  Exits with 1 if bind and the socket
 * disagree, or if a descriptor, child, signal or changed mask is left.  Then COUNT
 * more binds (default 1) must all succeed.  high: the socket is descriptor 10.
 * blocked: all signals may be blocked afterwards.
 *
 * The program first makes one child and writes no bytes once.  So its first clone(2),
 * wait4(2) and write(2) are not those of a bind: strace counts the calls of each
 * process.
 */
#include "../../../programs/src/common.h"

#include <poll.h>
#include <sys/prctl.h>

static int may_block;

/* Uses only calls that the library does not make, so that no fault hits them. */
static int descriptors(void)
{
    struct pollfd all[64];
    int count = 64;

    for (int fd = 0; fd < 64; fd++)
        all[fd] = (struct pollfd){.fd = fd};
    REQUIRE(poll(all, 64, 0) >= 0);
    for (int fd = 0; fd < 64; fd++)
        count -= (all[fd].revents & POLLNVAL) != 0;
    return count;
}

static void check_world(const sigset_t *mask, int count)
{
    sigset_t now, pending;
    siginfo_t info = {0};

    REQUIRE(descriptors() == count);
    REQUIRE(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigpending(&pending) == 0);
    if (may_block && sigismember(&now, SIGTERM))
        mask = &now;
    for (int sig = 1; sig < 65; sig++) {
        REQUIRE(sigismember(&now, sig) == sigismember(mask, sig));
        REQUIRE(sigismember(&pending, sig) <= 0);
    }
    REQUIRE(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == -1 && errno == ECHILD);
}

int main(int argc, char **argv)
{
    struct sockaddr_in wanted = loopback(1, 80), got = {0};
    socklen_t len = sizeof got;
    sigset_t mask;
    int more = argc > 1 ? atoi(argv[1]) : 1;
    const char *word = argc > 2 ? argv[2] : "";
    may_block = strcmp(word, "blocked") == 0;
    REQUIRE(strcmp(word, "subreaper") != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    ssize_t nothing = write(2, "", 0);
    (void)nothing;
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    while (child > 0 && wait4(child, NULL, 0, NULL) == -1 && errno == EINTR)
        ;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (strcmp(word, "high") == 0)
        REQUIRE(dup2(fd, 10) == 10 && close(fd) == 0 && (fd = 10));
    int count = descriptors();
    REQUIRE(fd >= 0 && sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
    errno = ERRNO_BEFORE;
    int result = bind(fd, (struct sockaddr *)&wanted, sizeof wanted), error = errno;
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
    REQUIRE(result == 0 || result == -1);
    REQUIRE(got.sin_port == (result == 0 ? htons(80) : 0));
    REQUIRE(error == ERRNO_BEFORE || result == -1);
    check_world(&mask, count);
    close(fd);
    printf(result == 0 ? "bound\n" : "errno %d\n", error);
    fflush(stdout);
    for (int i = 0; i < more; i++)
        bind_and_close(2);
    check_world(&mask, count - 1);
    return 0;
}
