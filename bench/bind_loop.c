/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bind_loop COUNT MIB: binds 127.0.0.1:80 and closes the socket COUNT times,
 * with MIB of memory touched in 4 KiB pages; prints the median and the mean of
 * the time that bind(2) took, in nanoseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { COUNT_MAX = 1000000, PAGE = 4096 };

static long samples[COUNT_MAX];

static long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bind_loop: %s: %s\n", what, strerror(errno));
    exit(1);
}

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

static long bind_once(void)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(80),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    long start = now_ns();
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        fail("bind");
    long taken = now_ns() - start;
    close(fd);
    return taken;
}

static int compare(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[1]) : 0;
    long sum = 0;

    if (count < 1 || count > COUNT_MAX) {
        fprintf(stderr, "usage: bind_loop COUNT MIB\n");
        return 2;
    }
    fill_heap((size_t)atol(argv[2]) << 20);
    bind_once(); /* the first one finds cold caches and unresolved symbols */
    for (int i = 0; i < count; i++)
        sum += samples[i] = bind_once();
    qsort(samples, (size_t)count, sizeof *samples, compare);
    printf("%ld %ld\n", samples[count / 2], sum / count);
    return 0;
}
