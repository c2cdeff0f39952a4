/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * landlocked: forbids itself every TCP bind by Landlock, then binds port 80
 * and 8080.  Prints the errno and the socket's port for each, or "none".
 */
#include "common.h"

#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void try_bind(int port)
{
    struct sockaddr_in addr = loopback(1, port), got = {0};
    socklen_t len = sizeof got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int error = bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno;

    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
    printf("%d %d\n", error, ntohs(got.sin_port));
}

int main(void)
{
    /* Linux 6.7: handled_access_fs, handled_access_net (LANDLOCK_ACCESS_NET_BIND_TCP) */
    unsigned long long forbidden[2] = {0, 1};
    long rules = syscall(SYS_landlock_create_ruleset, forbidden, sizeof forbidden, 0);

    if (rules < 0)
        return printf("none\n") < 0;
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(syscall(SYS_landlock_restrict_self, rules, 0) == 0);
    try_bind(80);
    try_bind(8080);
    return 0;
}
