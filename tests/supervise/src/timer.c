/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * timer COUNT: binds COUNT times while a timer with SA_RESTART interrupts it every
 * 3 ms.  Every result must be right.  Prints "bound COUNT".
 */
#include "common.h"

#include <sys/time.h>

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

static void expect(int port, int want)
{
    struct sockaddr_in addr = loopback(2, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = bind(fd, (struct sockaddr *)&addr, sizeof addr);

    REQUIRE((result == 0 ? 0 : errno) == want);
    close(fd);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval interval = {.it_interval.tv_usec = 3000, .it_value.tv_usec = 3000};
    int count = argc > 1 ? atoi(argv[1]) : 1;

    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &interval, NULL) == 0);
    for (int i = 0; i < count; i++) {
        bind_and_close(1);
        expect(i % 2 ? 8080 : 0, 0);
        if (i % 4 == 0)
            expect(81, EACCES);
    }
    REQUIRE(alarms > 0);
    return printf("bound %d\n", count) < 0;
}
