/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bind_loop PORT MIB [PROGRAM]: fills MIB of memory in 4 KiB pages and prints
 * "ready".  Then, for each line COUNT of its input, it binds 127.0.0.1:PORT and
 * closes the socket COUNT times, and prints the median duration of bind(2) in
 * nanoseconds.  With PROGRAM it measures from vfork(2) to the end of PROGRAM
 * instead.  It waits between the lines, so that other programs can take turns.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "binding.h"

enum { COUNT_MAX = 100000, PAGE = 4096 };

static void fill_heap(size_t size)
{
    char *heap;

    if (size == 0)
        return;
    heap = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (heap == MAP_FAILED || madvise(heap, size, MADV_NOHUGEPAGE) != 0)
        fail("heap");
    for (size_t at = 0; at < size; at += PAGE)
        heap[at] = 1;
}

static int compare(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;

    return (x > y) - (x < y);
}

static long start_once(const char *program)
{
    int status;
    long start = now_ns();
    pid_t pid = vfork();

    if (pid == 0) {
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        fail(program);
    return now_ns() - start;
}

static long once(const char *program, uint16_t port)
{
    return program ? start_once(program) : bind_once(INADDR_LOOPBACK, port);
}

int main(int argc, char **argv)
{
    static long samples[COUNT_MAX];
    uint16_t port = (uint16_t)(argc == 3 || argc == 4 ? atoi(argv[1]) : 0);
    int count;

    if (port == 0) {
        fprintf(stderr, "usage: bind_loop PORT MIB [PROGRAM]\n");
        return 2;
    }
    fill_heap((size_t)atol(argv[2]) << 20);
    once(argv[3], port); /* not measured: resolves symbols */
    puts("ready");
    fflush(stdout);
    while (scanf("%d", &count) == 1 && count > 0 && count <= COUNT_MAX) {
        once(argv[3], port); /* not measured: other programs have used the caches */
        for (int i = 0; i < count; i++)
            samples[i] = once(argv[3], port);
        qsort(samples, (size_t)count, sizeof *samples, compare);
        printf("%ld\n", samples[count / 2]);
        fflush(stdout);
    }
    return 0;
}
