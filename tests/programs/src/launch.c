/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * launch [OPTION VALUE]... -- PROGRAM [ARG]...: sets up this process as no shell and
 * no Python can, and executes PROGRAM.
 *   -e ENTRY   the environment is empty but for these, as they stand
 *   -i SIGNAL  ignored        -d SIGNAL  default        -b SIGNAL  blocked
 *   -r SIGNAL  raised (blocked first, it stays pending)
 *   -c FD      closed         -D FD      the directory /usr
 *   -n FD      opened on /dev/null, close-on-exec off
 *   -a SECONDS alarm          -t 0       the terminal on 0 becomes ours
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ENTRIES_MAX = 64 };

extern char **environ;

static void block(int sig)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void open_at(int wanted, const char *path, int flags)
{
    int fd = open(path, flags);

    if (fd != wanted) {
        dup2(fd, wanted);
        close(fd);
    }
}

int main(int argc, char **argv)
{
    static char *entries[ENTRIES_MAX + 1];
    int count = 0, replace = 0, i;

    for (i = 1; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        char *value = argv[i + 1];
        int number = atoi(value);
        switch (argv[i][1]) {
        case 'e':
            replace = 1;
            if (count < ENTRIES_MAX && strcmp(value, "-") != 0)
                entries[count++] = value;
            break;
        case 'i':
            signal(number, SIG_IGN);
            break;
        case 'd':
            signal(number, SIG_DFL);
            break;
        case 'b':
            block(number);
            break;
        case 'r':
            raise(number);
            break;
        case 'c':
            close(number);
            break;
        case 'D':
            open_at(number, "/usr", O_RDONLY | O_DIRECTORY);
            break;
        case 'n':
            open_at(number, "/dev/null", O_RDWR);
            break;
        case 'a':
            alarm((unsigned)number);
            break;
        case 't':
            if (ioctl(0, TIOCSCTTY, 0) != 0)
                return 98;
            break;
        default:
            return 99;
        }
    }
    if (replace)
        environ = entries;
    execvp(argv[i + 1], argv + i + 1);
    perror("launch");
    return 97;
}
