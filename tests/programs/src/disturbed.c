/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * disturbed CASE [WORD]...: binds while something comes between.
 *   rewritten PORT COUNT  one thread rewrites the address in memory, alternately to PORT
 *                         and 81, while another binds it COUNT times; prints how often
 *                         the socket was bound to PORT, bound to 81, and refused
 *   killed COUNT          starts COUNT children, one after the other; each binds without
 *                         a pause in four threads and is killed meanwhile, each time a
 *                         little later; then its addresses must be free; prints
 *                         "killed COUNT"
 *   interrupted COUNT     binds COUNT times while a timer with SA_RESTART interrupts it
 *                         every 3 ms; every result must be right; prints "bound COUNT"
 * Or it binds a socket that is not in the descriptor table of the process's first thread,
 * and prints "bound":
 *   leaderless            the first thread has ended
 *   unshared              the thread has its own table, with another socket under the same
 *                         number
 *   vfork                 a child binds that shares the memory, but not the descriptors
 */
#include "common.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static struct sockaddr_in rewritten_addr;
static volatile int finished;
static unsigned short first, second;

static void *flip(void *arg)
{
    while (!finished) {
        *(volatile unsigned short *)&rewritten_addr.sin_port = first;
        *(volatile unsigned short *)&rewritten_addr.sin_port = second;
    }
    return arg;
}

static int rewritten(char **words)
{
    int count = words[0] && words[1] ? atoi(words[1]) : 1, allowed = 0, forbidden = 0, refused = 0;
    pthread_t thread;

    rewritten_addr = loopback(3, first = htons((unsigned short)(words[0] ? atoi(words[0]) : 80)));
    rewritten_addr.sin_port = first;
    second = htons(81);
    REQUIRE(pthread_create(&thread, NULL, flip, NULL) == 0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in got = {0};
        socklen_t len = sizeof got;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int result = bind(fd, (struct sockaddr *)&rewritten_addr, sizeof rewritten_addr);
        REQUIRE(result == 0 || errno == EACCES);
        REQUIRE(getsockname(fd, (struct sockaddr *)&got, &len) == 0);
        forbidden += got.sin_port == second;
        allowed += got.sin_port == first;
        refused += result != 0;
        close(fd);
    }
    finished = 1;
    REQUIRE(pthread_join(thread, NULL) == 0);
    printf("allowed %d forbidden %d refused %d\n", allowed, forbidden, refused);
    return 0;
}

enum { THREADS = 4, PATIENCE_S = 30, STEP_NS = 7000 };

static int *binds; /* shared with the child */

static int try_bind(int last)
{
    struct sockaddr_in addr = loopback(last, 80);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno;

    close(fd);
    return error;
}

static void *bind_loop(void *arg)
{
    for (;;) {
        int error = try_bind(1 + (int)(long)arg);
        REQUIRE(error == 0 || error == EADDRINUSE); /* busy: the late bind of a killed child */
        __atomic_add_fetch(binds, 1, __ATOMIC_RELAXED);
    }
    return arg;
}

static long since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - start->tv_sec) * 1000000000L + now.tv_nsec - start->tv_nsec;
}

static void kill_in_the_middle(long after_ns)
{
    struct timespec start;
    int status;

    __atomic_store_n(binds, 0, __ATOMIC_RELAXED);
    pid_t child = fork();
    if (child == 0) {
        pthread_t id;
        for (long i = 0; i < THREADS; i++)
            REQUIRE(pthread_create(&id, NULL, bind_loop, (void *)i) == 0);
        pthread_exit(NULL);
    }
    while (__atomic_load_n(binds, __ATOMIC_RELAXED) < THREADS) {
        REQUIRE(waitpid(child, &status, WNOHANG) == 0);
        sched_yield();
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (since(&start) < after_ns) /* chooses the moment of the bind at which the kill comes */
        ;
    REQUIRE(kill(child, SIGKILL) == 0);
    REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < THREADS; i++)
        for (int error; (error = try_bind(1 + i)) != 0;)
            REQUIRE(error == EADDRINUSE && since(&start) < PATIENCE_S * 1000000000L);
}

static int killed(char **words)
{
    int count = words[0] ? atoi(words[0]) : 1;

    binds = mmap(NULL, sizeof *binds, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(binds != MAP_FAILED);
    for (int i = 0; i < count; i++)
        kill_in_the_middle(i * STEP_NS);
    return printf("killed %d\n", count) < 0;
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

static void expect(int port, int want)
{
    struct sockaddr_in addr = loopback(2, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = bind(fd, (struct sockaddr *)&addr, sizeof addr);

    REQUIRE((result == 0 ? 0 : errno) == want);
    close(fd);
}

static int interrupted(char **words)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval interval = {.it_interval.tv_usec = 3000, .it_value.tv_usec = 3000};
    int count = words[0] ? atoi(words[0]) : 1;

    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &interval, NULL) == 0);
    for (int i = 0; i < count; i++) {
        bind_and_close(1);
        expect(i % 2 ? 8080 : 0, 0);
        if (i % 4 == 0)
            expect(81, EACCES);
    }
    REQUIRE(alarms > 0);
    return printf("bound %d\n", count) < 0;
}

static int shared_fd;

static void *bind_late(void *arg)
{
    (void)arg;
    while (1) { /* waits until the first thread is a zombie */
        char state = 0, line[512];
        FILE *file;
        snprintf(line, sizeof line, "/proc/self/task/%d/stat", getpid());
        file = fopen(line, "r");
        REQUIRE(file && fscanf(file, "%*d %*s %c", &state) == 1);
        fclose(file);
        if (state == 'Z')
            break;
    }
    bind_and_close(1);
    printf("bound\n");
    exit(0);
}

static void *bind_in_own_table(void *arg)
{
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    int other = socket(AF_INET, SOCK_STREAM, 0);

    REQUIRE(unshare(CLONE_FILES) == 0);
    REQUIRE(dup2(other, shared_fd) == shared_fd);
    must_bind(shared_fd, 1);
    REQUIRE(getsockname(other, (struct sockaddr *)&name, &len) == 0);
    REQUIRE(ntohs(name.sin_port) == 80);
    return arg;
}

static int unshared(char **words)
{
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    pthread_t thread;

    (void)words;
    shared_fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(pthread_create(&thread, NULL, bind_in_own_table, NULL) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    REQUIRE(getsockname(shared_fd, (struct sockaddr *)&name, &len) == 0);
    REQUIRE(name.sin_port == 0);
    return puts("bound") < 0;
}

static int leaderless(char **words)
{
    pthread_t thread;

    (void)words;
    REQUIRE(pthread_create(&thread, NULL, bind_late, NULL) == 0);
    pthread_exit(NULL);
}

static int after_vfork(char **words)
{
    int status;
    pid_t pid = vfork();

    (void)words;
    if (pid == 0) {
        bind_and_close(1);
        _exit(0);
    }
    REQUIRE(waitpid(pid, &status, 0) == pid && status == 0);
    return puts("bound") < 0;
}

static const struct named_case cases[] = {
    {"rewritten", rewritten},
    {"killed", killed},
    {"interrupted", interrupted},
    {"leaderless", leaderless},
    {"unshared", unshared},
    {"vfork", after_vfork},
};

int main(int argc, char **argv)
{
    (void)argc;
    return run_case(cases, sizeof cases / sizeof *cases, argv);
}
