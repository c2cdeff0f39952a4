/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * storm PROCESSES THREADS ROUNDS: all threads of all processes bind and close at
 * once, in every way that has one right answer.  Prints "ready" and waits for a byte
 * on stdin.  Then prints the number of answers and of wrong answers, and waits for the
 * end of stdin.
 */
#include "common.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>

enum { WRONG_SHOWN = 10 };

struct shared {
    pthread_barrier_t start;
    int answers, wrong;
};

static struct shared *shared;
static int threads, rounds, process;

/* Reads errno, so that the argument `result` may be the call itself. */
static void judge(const char *what, int who, int result, int want)
{
    int got = result == 0 ? 0 : errno;

    __atomic_add_fetch(&shared->answers, 1, __ATOMIC_RELAXED);
    if (got != want && __atomic_add_fetch(&shared->wrong, 1, __ATOMIC_RELAXED) <= WRONG_SHOWN)
        dprintf(2, "storm: %s by %d: %s, not %s\n", what, who, strerror(got), strerror(want));
}

static struct sockaddr_in address_of(int who, int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(0x7f5a0000u + (unsigned)(who / 250 << 8) + who % 250 + 1),
    };
}

/* The socket must have exactly the wanted address, or none. */
static void bind_checked(const char *what, int fd, struct sockaddr_in addr, int who, int want)
{
    struct sockaddr_in got = {0};
    socklen_t len = sizeof got;
    int result = bind(fd, (struct sockaddr *)&addr, sizeof addr);

    judge(what, who, result, want);
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
    errno = EBADMSG;
    if (want == 0)
        judge("name", who, memcmp(&got, &addr, sizeof got), 0);
    else
        judge("no name", who, got.sin_port != 0, 0);
}

static int new_socket(int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    REQUIRE(fd >= 0);
    return fd;
}

static void in_use(int who)
{
    int first = new_socket(SOCK_STREAM), second = new_socket(SOCK_STREAM), result;
    struct sockaddr_in addr = address_of(who, 80);

    bind_checked("first of two", first, addr, who, 0);
    bind_checked("second of two", second, addr, who, EADDRINUSE);
    result = bind(first, (struct sockaddr *)&addr, sizeof addr);
    judge("bound twice", who, result, EINVAL);
    close(first);
    close(second);
}

static void local_name(int who, int round)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int len = snprintf(name.sun_path + 1, 64, "pybind-storm-%d-%d", who, round);

    len += (int)offsetof(struct sockaddr_un, sun_path) + 1;
    judge("unix", who, bind(fd, (struct sockaddr *)&name, (socklen_t)len), 0);
    close(fd);
}

static void malformed(int who)
{
    struct sockaddr_in addr = address_of(who, 80);
    struct sockaddr *given = (struct sockaddr *)&addr;
    int fd = new_socket(SOCK_STREAM), ends[2];

    judge("no descriptor", who, bind(-1, given, sizeof addr), EBADF);
    judge("no memory", who, bind(fd, (struct sockaddr *)8, sizeof addr), EFAULT);
    judge("short", who, bind(fd, given, 4), EINVAL);
    judge("negative", who, bind(fd, given, (socklen_t)-1), EINVAL);
    judge("long", who, bind(fd, given, 4096), EINVAL);
    REQUIRE(pipe2(ends, 0) == 0);
    judge("pipe", who, bind(ends[0], given, sizeof addr), ENOTSOCK);
    close(ends[0]);
    close(ends[1]);
    close(fd);
}

static void one(int who, int round)
{
    int fd = -1;

    switch ((who + round) % 8) {
    case 0:
    case 1:
        bind_checked("granted tcp", fd = new_socket(SOCK_STREAM), address_of(who, 80), who, 0);
        break;
    case 2:
        bind_checked("granted udp", fd = new_socket(SOCK_DGRAM), address_of(who, 80), who, 0);
        break;
    case 3:
        bind_checked("refused", fd = new_socket(SOCK_STREAM), address_of(who, 81), who, EACCES);
        break;
    case 4:
        bind_checked("unprivileged", fd = new_socket(SOCK_STREAM), address_of(who, 8080), who, 0);
        break;
    case 5:
        local_name(who, round);
        break;
    case 6:
        in_use(who);
        break;
    default:
        malformed(who);
    }
    if (fd >= 0)
        close(fd);
}

static void *run_thread(void *arg)
{
    int who = process * threads + (int)(long)arg;

    pthread_barrier_wait(&shared->start);
    for (int round = 0; round < rounds; round++)
        one(who, round);
    return NULL;
}

static int run_process(void)
{
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    pthread_attr_t small;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    REQUIRE(pthread_attr_init(&small) == 0);
    REQUIRE(pthread_attr_setstacksize(&small, 64 << 10) == 0);
    for (long i = 0; i < threads; i++)
        REQUIRE(pthread_create(&ids[i], &small, run_thread, (void *)i) == 0);
    for (int i = 0; i < threads; i++)
        REQUIRE(pthread_join(ids[i], NULL) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    pthread_barrierattr_t across;
    int processes = argc > 3 ? atoi(argv[1]) : 0, failed = 0, status;
    char byte;

    REQUIRE(processes > 0);
    threads = atoi(argv[2]);
    rounds = atoi(argv[3]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    REQUIRE(pthread_barrierattr_init(&across) == 0);
    REQUIRE(pthread_barrierattr_setpshared(&across, PTHREAD_PROCESS_SHARED) == 0);
    REQUIRE(pthread_barrier_init(&shared->start, &across, (unsigned)(processes * threads)) == 0);
    dprintf(1, "ready\n");
    REQUIRE(read(0, &byte, 1) == 1);
    for (process = 0; process < processes; process++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(run_process());
        REQUIRE(pid > 0);
    }
    for (int i = 0; i < processes; i++)
        failed += wait(&status) < 0 || status != 0;
    dprintf(1, "answers %d wrong %d failed %d\n", shared->answers, shared->wrong, failed);
    return read(0, &byte, 1) != 0;
}
