/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * traces CASE [WORD]...: binds, and looks for traces of it in this process: descriptors,
 * children and signals.
 *   closed HOW         closes every descriptor first, as a daemon does, and then binds
 *                      sockets of many numbers, among them those that the helper uses,
 *                      and with the neighbouring numbers in use; HOW: loop, closefrom
 *                      or close_range
 *   descriptors COUNT  the descriptor table is the same after COUNT binds and as many
 *                      refused ones, and a program that has used up all numbers can bind
 *   forks              binds in a child: after fork, after a daemon's double fork, and
 *                      after vfork (which POSIX forbids, but servers do)
 *   children MODE      where a stray child or signal of the library would show:
 *     ignored          SIGCHLD is ignored, and must stay so
 *     blocked          every signal is blocked, and none may be pending afterwards
 *     subreaper        this program adopts orphans, and must get none
 *     pid1             the same as PID 1 of a PID namespace
 *   threads            32 threads bind, listen, close and bind again at once; meanwhile
 *                      the program has one child and watches for others: one thread
 *                      waits in waitpid(-1), one polls waitid(P_ALL), and SIGCHLD has a
 *                      handler; only the program's own child may be seen, once, at its end
 */
#include "common.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void bind_at(int number, int neighbours)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    REQUIRE(fd >= 0);
    if (fd != number) {
        REQUIRE(dup2(fd, number) == number);
        close(fd);
    }
    for (int i = 0; neighbours && i < 10; i++)
        if (i != number)
            open("/dev/null", O_RDWR);
    must_bind(number, 1);
    REQUIRE(listen(number, 5) == 0);
    closefrom(0);
}

/* So that the first socket has the number 0. */
static int without_descriptors(char **words)
{
    static const int numbers[] = {0, 1, 2, 3, 4, 5, 100, 1023};

    if (words[0] && strcmp(words[0], "closefrom") == 0)
        closefrom(0);
    else if (words[0] && strcmp(words[0], "close_range") == 0)
        syscall(SYS_close_range, 0u, ~0u, 0u);
    else
        for (int fd = 0; fd < 1024; fd++)
            close(fd);
    bind_and_close(1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        bind_at(numbers[i], 0);
        bind_at(numbers[i], 1);
    }
    return 0;
}

static void list(char *out, size_t size)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    size_t used = 0;

    REQUIRE(dir);
    while ((entry = readdir(dir))) {
        char path[300], target[300] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, target, sizeof target - 1) > 0 && !strstr(target, "/fd"))
            used += snprintf(out + used, size - used, "%s=%s ", entry->d_name, target);
        REQUIRE(used < size);
    }
    closedir(dir);
}

static void refused(void)
{
    struct sockaddr_in addr = loopback(1, 81);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    REQUIRE(bind(fd, (struct sockaddr *)&addr, sizeof addr) == -1 && errno == EACCES);
    close(fd);
}

static int descriptors(char **words)
{
    static char before[8192], after[8192];
    int count = words[0] ? atoi(words[0]) : 1, fd;
    struct rlimit files = {64, 64};

    list(before, sizeof before);
    for (int i = 0; i < count; i++) {
        bind_and_close(1);
        refused();
    }
    list(after, sizeof after);
    REQUIRE(strcmp(before, after) == 0);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    while (open("/dev/null", O_RDONLY) >= 0)
        ;
    REQUIRE(errno == EMFILE);
    must_bind(fd, 1);
    return 0;
}

static void must_exit_zero(pid_t pid)
{
    int status = -1;

    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    REQUIRE(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
}

static pid_t daemon_fork(int fd)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    setsid();
    pid = fork();
    if (pid == 0)
        must_bind(fd, 2);
    else
        must_exit_zero(pid);
    _exit(0);
}

static int in_children(char **words)
{
    int one = socket(AF_INET, SOCK_STREAM, 0), two = socket(AF_INET, SOCK_STREAM, 0);
    int three = socket(AF_INET, SOCK_STREAM, 0);
    pid_t pid = fork();

    (void)words;
    if (pid == 0) {
        must_bind(one, 1);
        _exit(0);
    }
    must_exit_zero(pid);
    must_exit_zero(daemon_fork(two));
    pid = vfork();
    if (pid == 0) {
        must_bind(three, 3);
        _exit(0);
    }
    must_exit_zero(pid);
    /* The sockets are shared, so the parent can listen on those that its children bound. */
    REQUIRE(listen(one, 5) == 0 && listen(two, 5) == 0 && listen(three, 5) == 0);
    return 0;
}

static void no_child(void)
{
    REQUIRE(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void bind_ignoring(void)
{
    struct sigaction action;

    signal(SIGCHLD, SIG_IGN);
    bind_and_close(1);
    REQUIRE(sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    /* SIGCHLD is still ignored: the kernel reaps, and wait(2) finds no child. */
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    REQUIRE(waitpid(pid, NULL, 0) == -1 && errno == ECHILD);
}

static void bind_blocking(void)
{
    sigset_t all, now, pending;

    sigfillset(&all);
    REQUIRE(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    signal(SIGCHLD, SIG_DFL);
    bind_and_close(1);
    REQUIRE(sigpending(&pending) == 0);
    for (int sig = 1; sig < NSIG; sig++)
        REQUIRE(sigismember(&pending, sig) != 1);
    REQUIRE(sigprocmask(SIG_SETMASK, NULL, &now) == 0);
    for (int sig = 1; sig < NSIG; sig++)
        REQUIRE(sig == SIGKILL || sig == SIGSTOP || sigismember(&now, sig) == sigismember(&all, sig));
}

static int stray_children(char **words)
{
    const char *mode = words[0] ? words[0] : "";

    if (strcmp(mode, "ignored") == 0) {
        bind_ignoring();
    } else if (strcmp(mode, "blocked") == 0) {
        bind_blocking();
    } else if (strcmp(mode, "subreaper") == 0) {
        REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    } else {
        REQUIRE(strcmp(mode, "pid1") == 0 && getpid() == 1);
    }
    for (int i = 0; i < 50; i++) {
        bind_and_close(1);
        no_child();
    }
    return 0;
}

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

static int threads_and_a_child(char **words)
{
    struct sigaction action = {.sa_sigaction = on_sigchld, .sa_flags = SA_SIGINFO | SA_RESTART};
    pthread_t threads[THREADS], waiter, poller;
    int lasts[THREADS];

    (void)words;
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

static const struct named_case cases[] = {
    {"closed", without_descriptors},
    {"descriptors", descriptors},
    {"forks", in_children},
    {"children", stray_children},
    {"threads", threads_and_a_child},
};

int main(int argc, char **argv)
{
    (void)argc;
    return run_case(cases, sizeof cases / sizeof *cases, argv);
}
