/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bind_loop PORT MIB: fills MIB of memory in 4 KiB pages and prints "ready".
 * Then, for each line COUNT of its input: binds 127.0.0.1:PORT and closes the
 * socket COUNT times, and prints the median of the time that bind(2) took, in
 * nanoseconds. It lives on between the lines, so that others can take turns.
 */
#include <sys/mman.h>

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

int main(int argc, char **argv)
{
    static long samples[COUNT_MAX];
    uint16_t port = (uint16_t)(argc == 3 ? atoi(argv[1]) : 0);
    int count;

    if (port == 0) {
        fprintf(stderr, "usage: bind_loop PORT MIB\n");
        return 2;
    }
    fill_heap((size_t)atol(argv[2]) << 20);
    bind_once(INADDR_LOOPBACK, port); /* finds unresolved symbols */
    puts("ready");
    fflush(stdout);
    while (scanf("%d", &count) == 1 && count > 0 && count <= COUNT_MAX) {
        bind_once(INADDR_LOOPBACK, port); /* finds the caches that others left */
        for (int i = 0; i < count; i++)
            samples[i] = bind_once(INADDR_LOOPBACK, port);
        qsort(samples, (size_t)count, sizeof *samples, compare);
        printf("%ld\n", samples[count / 2]);
        fflush(stdout);
    }
    return 0;
}
