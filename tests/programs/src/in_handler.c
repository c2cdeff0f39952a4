/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Binds in a signal handler: on an alternate stack, and in the handler of a
 * timer that keeps interrupting a loop that binds too.
 */
#include "common.h"

#include <sys/time.h>

enum { HANDLER_BINDS = 100 };

static volatile sig_atomic_t handled;

static void bind_in_handler(int sig)
{
    int saved = errno;

    (void)sig;
    bind_and_close(2);
    handled++;
    errno = saved;
}

int main(void)
{
    static char room[65536];
    stack_t alternate = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = bind_in_handler, .sa_flags = SA_ONSTACK};
    struct itimerval often = {.it_interval.tv_usec = 700, .it_value.tv_usec = 700}, off = {0};

    REQUIRE(sigaltstack(&alternate, NULL) == 0);
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    REQUIRE(raise(SIGUSR1) == 0 && handled == 1);
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (handled < HANDLER_BINDS)
        bind_and_close(1);
    REQUIRE(setitimer(ITIMER_REAL, &off, NULL) == 0);
    return 0;
}
