/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The program whose binds are measured.
 *
 * binds loop PORT MIB [PROGRAM]: fills MIB of memory in 4 KiB pages and prints
 * "ready".  Then, for each line COUNT of its input, it binds 127.0.0.1:PORT and
 * closes the socket COUNT times, and prints the median duration of bind(2) in
 * nanoseconds.  With PROGRAM it measures from vfork(2) to the end of PROGRAM
 * instead.  It waits between the lines, so that other programs can take turns.
 *
 * binds many PROCESSES COUNT: starts PROCESSES children.  When all are there, each
 * child binds port 80 of its own loopback address COUNT times.  Prints the
 * nanoseconds from the start of the first child to the end of the last.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COUNT_MAX = 100000, PAGE = 4096 };                               /* of loop */
enum { FIRST_ADDR = 0x7f010001, MANY_PORT = 80, PROCESSES_MAX = 1000 }; /* of many */

static int usage(void)
{
    fputs("usage: binds loop PORT MIB [PROGRAM]\n       binds many PROCESSES COUNT\n", stderr);
    return 2;
}

static long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Binds a TCP socket and closes it; addr and port are in host byte order.  Returns the
 * nanoseconds of bind(2). */
static long bind_once(uint32_t addr, uint16_t port)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(addr),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    long start = now_ns();
    if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0)
        fail("bind");
    long taken = now_ns() - start;
    close(fd);
    return taken;
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

/* loop PORT MIB [PROGRAM] */
static int loop(int argc, char **argv)
{
    static long samples[COUNT_MAX];
    uint16_t port = (uint16_t)(argc == 3 || argc == 4 ? atoi(argv[1]) : 0);
    int count;

    if (port == 0)
        return usage();
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

static void child(int number, int count, int ready, int go)
{
    char end;

    if (write(ready, "r", 1) != 1 || read(go, &end, 1) != 0) /* the end of file means go */
        fail("start");
    for (int i = 0; i < count; i++)
        bind_once(FIRST_ADDR + (uint32_t)number, MANY_PORT);
    exit(0);
}

/* many PROCESSES COUNT */
static int many(int argc, char **argv)
{
    int processes = argc == 3 ? atoi(argv[1]) : 0, count = argc == 3 ? atoi(argv[2]) : 0;
    int ready[2], go[2], status;
    char byte;

    if (processes < 1 || processes > PROCESSES_MAX || count < 1)
        return usage();
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

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "loop") == 0)
        return loop(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "many") == 0)
        return many(argc - 1, argv + 1);
    return usage();
}
