/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The libraries that the tests load beside ours.  A macro chooses one:
 *   -DMODULE  a plug-in that calls bind: its symbols are resolved when it is loaded
 *   -DWRAPS   another preload library that wraps bind: it sets an option of the socket,
 *             and prints to descriptor 2 that it was called
 *   -DDENIES  a preload library that refuses every bind, as a sandbox by a preload
 *             library would
 *   -DEARLY   a preload library behind ours, whose constructor runs before ours.  The
 *             variable EARLY chooses what the constructor does:
 *     bind    binds, and prints the result
 *     clear   clears the environment
 *     execve, execvp, posix_spawn, posix_spawnp    starts /bin/echo by this call
 *     fail    makes these calls and prctl(2) fail, and prints their errors
 */
#include "common.h"

#include <dlfcn.h>
#include <spawn.h>
#include <sys/prctl.h>

#ifdef MODULE
void module_bind(int last);

void module_bind(int last)
{
    bind_and_close(last);
}
#endif

#ifdef WRAPS
int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    int on = 1;

    *(void **)&next = dlsym(RTLD_NEXT, "bind");
    dprintf(2, "other library called\n");
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return next(fd, addr, len);
}
#endif

#ifdef DENIES
int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    (void)fd, (void)addr, (void)len;
    errno = EACCES;
    return -1;
}
#endif

#ifdef EARLY
extern char **environ;

static void start(const char *how)
{
    char *argv[] = {"echo", "started", NULL};
    int status, error = ENOEXEC;
    pid_t child = 0;

    if (strcmp(how, "execve") == 0)
        execve("/bin/echo", argv, environ);
    else if (strcmp(how, "execvp") == 0)
        execvp("echo", argv);
    else if (strcmp(how, "posix_spawn") == 0)
        error = posix_spawn(&child, "/bin/echo", NULL, NULL, argv, environ);
    else
        error = posix_spawnp(&child, "echo", NULL, NULL, argv, environ);
    REQUIRE(error == 0 && waitpid(child, &status, 0) == child && status == 0);
}

__attribute__((constructor)) static void early(void)
{
    const char *what = getenv("EARLY");
    struct sockaddr_in wanted = loopback(2, 80);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (what && strcmp(what, "bind") == 0)
        dprintf(2, "early: %d\n", bind(fd, (struct sockaddr *)&wanted, sizeof wanted) ? errno : 0);
    if (what && strcmp(what, "clear") == 0)
        clearenv();
    if (what && strcmp(what, "fail") == 0) {
        char *argv[] = {"nothing", NULL};
        REQUIRE(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
        REQUIRE(prctl(-1, 0, 0, 0, 0) == -1 && errno == EINVAL);
        REQUIRE(execve("/nothing/here", argv, environ) == -1 && errno == ENOENT);
        REQUIRE(execvp("nothing-here", argv) == -1 && errno == ENOENT);
        REQUIRE(posix_spawnp(NULL, "nothing-here", NULL, NULL, argv, environ) == ENOENT);
        dprintf(2, "early: failed\n");
    }
    if (what && (strncmp(what, "exec", 4) == 0 || strncmp(what, "posix", 5) == 0)) {
        char how[16] = "";
        strncpy(how, what, sizeof how - 1);
        unsetenv("EARLY");
        start(how);
    }
    close(fd);
}
#endif
