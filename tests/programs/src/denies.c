/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A preload library that refuses every bind, as a sandbox by a preload library would.
 */
#include <errno.h>
#include <sys/socket.h>

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    (void)fd, (void)addr, (void)len;
    errno = EACCES;
    return -1;
}
