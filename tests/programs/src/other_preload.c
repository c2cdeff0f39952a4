/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Another preload library that wraps bind: it sets an option of the socket, and
 * prints to descriptor 2 that it was called.
 */
#include "common.h"

#include <dlfcn.h>

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    int on = 1;

    *(void **)&next = dlsym(RTLD_NEXT, "bind");
    dprintf(2, "other library called\n");
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return next(fd, addr, len);
}
