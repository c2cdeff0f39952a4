/* SPDX-License-Identifier: MIT
 *
 * Linked into the helper's sources with -Wl,--wrap.  Kills the process where the
 * helper calls send(2), after its bind, or with BEFORE_BIND where it calls bind(2).
 */
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t len);
int __real_bind(int fd, const struct sockaddr *addr, socklen_t len);

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    (void)fd, (void)data, (void)len, (void)flags;
    kill(getpid(), SIGKILL);
    return -1;
}

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
#ifdef BEFORE_BIND
    kill(getpid(), SIGKILL);
#endif
    return __real_bind(fd, addr, len);
}
