/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * 32 threads bind, listen, close and bind again at once.  Meanwhile the program has
 * one child and watches for others: one thread waits in waitpid(-1), one polls
 * waitid(P_ALL), and SIGCHLD has a handler.  Only the program's own child may be
 * seen, once, at its end.
 */
#include "common.h"

#include <sys/prctl.h>

enum { THREADS = 32, ROUNDS = 20 };

static pthread_barrier_t start;
static pid_t child;
static volatile sig_atomic_t sigchld_count, sigchld_stranger;
static int finished;

static void on_sigchld(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    sigchld_count++;
    if (info->si_pid != child)
        sigchld_stranger = info->si_pid;
}

static void *bind_loop(void *arg)
{
    int last = *(int *)arg;

    pthread_barrier_wait(&start);
    for (int i = 0; i < ROUNDS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must_bind(fd, last);
        REQUIRE(listen(fd, 5) == 0);
        REQUIRE(close(fd) == 0);
    }
    return NULL;
}

static void *sit_in_waitpid(void *arg)
{
    int status = -1;

    pthread_barrier_wait(&start);
    pid_t pid = waitpid(-1, &status, 0);
    REQUIRE(pid == child && WIFSIGNALED(status));
    REQUIRE(__atomic_load_n(&finished, __ATOMIC_ACQUIRE));
    return arg;
}

static void *poll_waitid(void *arg)
{
    pthread_barrier_wait(&start);
    while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
        siginfo_t info = {0};
        REQUIRE(waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) == 0);
        REQUIRE(info.si_pid == 0);
    }
    return arg;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_sigchld, .sa_flags = SA_SIGINFO | SA_RESTART};
    pthread_t threads[THREADS], waiter, poller;
    int lasts[THREADS];

    REQUIRE(sigaction(SIGCHLD, &action, NULL) == 0);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (;;)
            pause();
    }
    REQUIRE(pthread_barrier_init(&start, NULL, THREADS + 2) == 0);
    REQUIRE(pthread_create(&waiter, NULL, sit_in_waitpid, NULL) == 0);
    REQUIRE(pthread_create(&poller, NULL, poll_waitid, NULL) == 0);
    for (int i = 0; i < THREADS; i++) {
        lasts[i] = i + 1;
        REQUIRE(pthread_create(&threads[i], NULL, bind_loop, &lasts[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    REQUIRE(sigchld_count == 0);
    __atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
    pthread_join(poller, NULL);
    REQUIRE(kill(child, SIGKILL) == 0);
    pthread_join(waiter, NULL);
    REQUIRE(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    REQUIRE(sigchld_count == 1 && sigchld_stranger == 0);
    return 0;
}
