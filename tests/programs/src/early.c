/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A preload library behind ours, whose constructor runs before ours: with
 * EARLY=bind it binds there, and says how that ended; with EARLY=clear it
 * takes the environment away.
 */
#include "common.h"

__attribute__((constructor)) static void early(void)
{
    const char *what = getenv("EARLY");
    struct sockaddr_in wanted = loopback(2, 80);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (what && strcmp(what, "bind") == 0)
        dprintf(2, "early: %d\n", bind(fd, (struct sockaddr *)&wanted, sizeof wanted) ? errno : 0);
    if (what && strcmp(what, "clear") == 0)
        clearenv();
    close(fd);
}
