/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sends SIGUSR1 to its whole group before anything else; prints how often it
 * came, when its input has ended.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t count;

static void on_signal(int sig)
{
    (void)sig;
    count++;
}

int main(void)
{
    char rest;

    signal(SIGUSR1, on_signal);
    kill(0, SIGUSR1);
    puts("sent");
    fflush(stdout);
    while (read(0, &rest, 1) > 0)
        continue;
    printf("%d\n", (int)count);
    return 0;
}
