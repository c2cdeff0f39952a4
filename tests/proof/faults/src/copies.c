/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * copies again|held|forked PORT: what a bind sees of the copies that the
 * process of another thread's bind holds. A test holds that process up before
 * it closes them.
 *
 * again: a listening socket of PORT is closed, and PORT bound again. held: the
 * same, and the copy is there for so long that the bind gives up. forked: a
 * child, which has the thread's counts but not the thread, binds a busy port.
 *
 * The process of a bind closes what is above its socket, then what is below. Held
 * up at the second it still holds a copy of the listening socket. The main
 * thread's socket is descriptor 0, so that its own bind has only the first.
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
