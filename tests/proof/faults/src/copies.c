/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * copies again|held|forked PORT: binds while the process of another thread's bind
 * has copies of the descriptors.  A test delays that process before it closes the
 * copies.
 *
 * again: closes a listening socket of PORT, and binds PORT again.  held: the same,
 * but the copy stays so long that the bind gives up.  forked: a forked child binds a
 * busy port; it has the count of the thread's bind, but not the thread.
 *
 * The process of a bind first closes the descriptors above its socket, then those
 * below.  Delayed at the second step, it has a copy of the listening socket.  The
 * main thread's socket is descriptor 0, so its own bind has only the first step.
 */
#include "../../../programs/src/common.h"

#include <fcntl.h>
#include <sys/syscall.h>

enum { FIRST = 3, HIGH = 100 };
static _Atomic pid_t binder_id;

static void *binder(void *unused)
{
    (void)unused;
    binder_id = (pid_t)syscall(SYS_gettid);
    bind_and_close(1);
    return NULL;
}

/* Waits until the process that the thread's bind started has its own descriptor table. The
* process has copies of our descriptors, but none above the thread's socket. */
static void wait_for_copies(void)
{
    char path[64], text[32];
    int fd;

    while (!binder_id)
        ;
    for (ssize_t got = 0; got <= 0;) {
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)binder_id);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        REQUIRE(fd >= 0);
        got = read(fd, text, sizeof text - 1);
        text[got > 0 ? got : 0] = '\0';
        REQUIRE(close(fd) == 0);
    }
    do {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", atoi(text), HIGH);
    } while (access(path, F_OK) == 0);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", atoi(text), FIRST);
    REQUIRE(access(path, F_OK) == 0);
}

static int try_bind(int fd, const struct sockaddr_in *wanted)
{
    return bind(fd, (const struct sockaddr *)wanted, sizeof *wanted) == 0 ? 0 : errno;
}

static int listening(const struct sockaddr_in *wanted)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0 && try_bind(fd, wanted) == 0 && listen(fd, 1) == 0);
    return fd;
}

int main(int argc, char **argv)
{
    REQUIRE(argc == 3);
    int is_fork = strcmp(argv[1], "forked") == 0, is_held = strcmp(argv[1], "held") == 0;
    struct sockaddr_in wanted = loopback(2, atoi(argv[2]));
    int first = listening(&wanted), second;
    pthread_t thread;

    REQUIRE(first == FIRST && dup2(2, HIGH) == HIGH);
    close(0);
    second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(second == 0 && pthread_create(&thread, NULL, binder, NULL) == 0);
    wait_for_copies();
    if (is_fork) {
        int status;
        pid_t child = fork();
        if (child == 0)
            exit(try_bind(second, &wanted));
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == EADDRINUSE);
    } else {
        REQUIRE(close(first) == 0);
        REQUIRE(try_bind(second, &wanted) == (is_held ? EADDRINUSE : 0));
    }
    REQUIRE(pthread_join(thread, NULL) == 0);
    return 0;
}
