/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * soak PROCESSES BINDS...: each of PROCESSES processes makes BINDS binds on its own
 * addresses, in turn of every kind that has one right answer.  Then a round with the
 * next number of BINDS follows.  A process compares its descriptors, memory, children,
 * signals and errno after the first round with those at the end.  For each round the
 * program prints "ready", waits for a byte on stdin, and prints
 *     binds N wrong N descriptors N memory N leftovers N
 * where all numbers but the first should be 0 (memory: KiB more in all processes).
 * Then it waits for the end of stdin.
 */
#include "../../programs/src/common.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

enum { KINDS = 8, WARM = 2 * KINDS };

struct totals {
    atomic_long binds, wrong, descriptors, memory, leftovers;
};

static struct totals *totals;

static long descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    long count = 0;

    REQUIRE(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Returns the private writable memory in KiB, which a leak of the library would enlarge. */
static long memory(void)
{
    char text[4096], *line;
    FILE *file = fopen("/proc/self/status", "r");

    REQUIRE(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    line = strstr(text, "VmData:");
    REQUIRE(line);
    return atol(line + 7);
}

static void expect(int fd, const void *addr, socklen_t len, int want)
{
    struct sockaddr_in6 got = {0};
    socklen_t got_len = sizeof got;

    errno = ERRNO_BEFORE;
    int result = bind(fd, addr, len), error = errno;
    bool good = want == 0 ? result == 0 && error == ERRNO_BEFORE : result == -1 && error == want;
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &got_len) == 0);
    in_port_t port = ((const struct sockaddr_in *)addr)->sin_port;
    good = good && got.sin6_port == (want == 0 ? port : 0);
    totals->binds++;
    if (!good && totals->wrong++ < 10)
        dprintf(2, "soak: %s, not %s\n", result ? strerror(error) : "bound", strerror(want));
}

/* Makes a bind of one kind, on an address that only this process uses. */
static void bind_one(int who, long number)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(80),
        .sin_addr.s_addr = htonl(0x7f510001u + (unsigned)who * 256),
    };
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    unsigned char prefix[12] = {[10] = 0xff, [11] = 0xff};
    int kind = (int)(number % KINDS), want = 0, family = kind == 3 ? AF_INET6 : AF_INET;
    int fd = socket(family, (kind == 2 ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0);
    memcpy(&mapped.sin6_addr, prefix, sizeof prefix);
    memcpy((char *)&mapped.sin6_addr + 12, &addr.sin_addr, 4);
    if (kind == 4) { /* refused by the rules */
        addr.sin_port = htons(81);
        want = EACCES;
    } else if (kind == 5) { /* refused by the kernel */
        addr.sin_addr.s_addr = htonl(0xc0000201u);
        want = EADDRNOTAVAIL;
    } else if (kind == 6) { /* a second bind of one socket */
        expect(fd, &addr, sizeof addr, 0);
        errno = 0;
        REQUIRE(bind(fd, (struct sockaddr *)&addr, sizeof addr) == -1 && errno == EINVAL);
        close(fd);
        return;
    } else if (kind == 7) { /* needs no helper */
        addr.sin_port = htons((unsigned short)(20000 + who));
    }
    if (kind == 3)
        expect(fd, &mapped, sizeof mapped, want);
    else
        expect(fd, &addr, sizeof addr, want);
    close(fd);
}

static void process(int who, long binds)
{
    sigset_t pending;
    siginfo_t info;
    long held = 0, size = 0;

    for (long i = 0; i < binds; i++) {
        if (i == WARM) {
            held = descriptors();
            size = memory();
        }
        bind_one(who, i);
    }
    totals->descriptors += labs(descriptors() - held);
    totals->memory += memory() - size;
    totals->leftovers += sigpending(&pending) != 0 || !sigisemptyset(&pending);
    totals->leftovers +=
        waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) != -1 || errno != ECHILD;
    _exit(0);
}

static void run(int processes, long binds)
{
    int ended = 0, status, start[2];
    char byte;

    memset(totals, 0, sizeof *totals);
    REQUIRE(binds > WARM && pipe(start) == 0);
    for (int i = 0; i < processes; i++) {
        pid_t pid = fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            close(start[1]);
            REQUIRE(read(start[0], &byte, 1) == 0);
            process(i, binds);
        }
    }
    close(start[0]);
    REQUIRE(write(1, "ready\n", 6) == 6 && read(0, &byte, 1) == 1);
    close(start[1]);
    while (wait(&status) > 0) {
        ended++;
        totals->wrong += status != 0;
    }
    REQUIRE(ended == processes && errno == ECHILD);
    dprintf(1, "binds %ld wrong %ld descriptors %ld memory %ld leftovers %ld\n", totals->binds,
            totals->wrong, totals->descriptors, totals->memory, totals->leftovers);
}

int main(int argc, char **argv)
{
    char byte;

    totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(totals != MAP_FAILED && argc > 2);
    for (int i = 2; i < argc; i++)
        run(atoi(argv[1]), atol(argv[i]));
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
