/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bind_many PROCESSES COUNT: starts PROCESSES children.  When all are there, each
 * child binds port 80 of its own loopback address COUNT times.  Prints the
 * nanoseconds from the start of the first child to the end of the last.
 */
#include <sys/wait.h>

#include "binding.h"

enum { FIRST_ADDR = 0x7f010001, PORT = 80, PROCESSES_MAX = 1000 };

static void child(int number, int count, int ready, int go)
{
    char end;

    if (write(ready, "r", 1) != 1 || read(go, &end, 1) != 0) /* the end of file means go */
        fail("start");
    for (int i = 0; i < count; i++)
        bind_once(FIRST_ADDR + (uint32_t)number, PORT);
    exit(0);
}

int main(int argc, char **argv)
{
    int processes = argc == 3 ? atoi(argv[1]) : 0, count = argc == 3 ? atoi(argv[2]) : 0;
    int ready[2], go[2], status;
    char byte;

    if (processes < 1 || processes > PROCESSES_MAX || count < 1) {
        fprintf(stderr, "usage: bind_many PROCESSES COUNT\n");
        return 2;
    }
    if (pipe(ready) != 0 || pipe(go) != 0)
        fail("pipe");
    for (int i = 0; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            close(go[1]);
            child(i, count, ready[1], go[0]);
        }
    }
    for (int i = 0; i < processes; i++)
        if (read(ready[0], &byte, 1) != 1)
            fail("read");
    long start = now_ns();
    close(go[1]);
    for (int i = 0; i < processes; i++)
        if (wait(&status) < 0 || status != 0) {
            fprintf(stderr, "bench: a child ended with status %d\n", status);
            return 1;
        }
    printf("%ld\n", now_ns() - start);
    return 0;
}
