/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Prints what this program knows of its terminal, then waits for an interrupt.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

int main(void)
{
    struct termios t;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    char target[256] = "";

    if (tty < 0 || tcgetattr(0, &t) != 0 || readlink("/proc/self/fd/0", target, 255) < 0)
        return 1;
    printf("pid %d\n", getpid());
    printf("tty %s %d%d%d\n", target, isatty(0), isatty(1), isatty(2));
    printf("foreground %d leader %d\n", tcgetpgrp(tty) == getpgrp(), getsid(0) == getpid());
    printf("termios %x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    printf("ready\n");
    fflush(stdout);
    for (;;)
        pause();
}
