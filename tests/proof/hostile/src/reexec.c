/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * reexec HOW N: executes itself N times by HOW (execve, execv, execvp or execvpe)
 * while a thread binds.  Prints the number of children and SIGCHLDs that it then
 * finds but never caused.
 */
#include "../../../programs/src/common.h"

extern char **environ;
static _Atomic int binds;

static void *binder(void *unused)
{
    struct sockaddr_in wanted = loopback(1, 80);
    int yes = 1;

    (void)unused;
    for (;; binds++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
        REQUIRE(bind(fd, (struct sockaddr *)&wanted, sizeof wanted) == 0);
        REQUIRE(close(fd) == 0);
    }
}

static void execute(const char *how, char **argv)
{
    if (strcmp(how, "execve") == 0)
        execve("/proc/self/exe", argv, environ);
    else if (strcmp(how, "execv") == 0)
        execv("/proc/self/exe", argv);
    else if (strcmp(how, "execvp") == 0)
        execvp("/proc/self/exe", argv);
    else
        execvpe("/proc/self/exe", argv, environ);
    REQUIRE(0);
}

int main(int argc, char **argv)
{
    REQUIRE(argc >= 3);
    int left = atoi(argv[2]), found = argc > 3 ? atoi(argv[3]) : 0;
    char left_text[16], found_text[16];
    struct timespec now = {0}, moment = {.tv_nsec = 10000000};
    pthread_t thread;
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    REQUIRE(sigprocmask(SIG_BLOCK, &child, NULL) == 0);
    /* A leftover helper ends meanwhile. */
    nanosleep(&moment, NULL);
    while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
        found++;
    found += sigtimedwait(&child, NULL, &now) == SIGCHLD;
    if (left == 0)
        return printf("%d\n", found) < 0;
    REQUIRE(pthread_create(&thread, NULL, binder, NULL) == 0);
    while (binds < 2)
        ;
    /* A failed execve(2) lets the binds go on. */
    for (int i = 0; i < 100; i++)
        REQUIRE(execv("/nothing/here", argv) == -1 && errno == ENOENT);
    for (int before = binds; binds < before + 2;)
        ;
    snprintf(left_text, sizeof left_text, "%d", left - 1);
    snprintf(found_text, sizeof found_text, "%d", found);
    execute(argv[1], (char *[]){argv[0], argv[1], left_text, found_text, NULL});
}
