/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * binds [CASE [WORD]...]: calls bind(2) in one of the ways of programs, and checks what
 * comes of it.  Without CASE it is once.
 *   once [COUNT [MODULE]]  binds and closes a socket COUNT times; with MODULE a
 *                          function of that module calls bind; prints "bound"
 *   heap [GIB]             with a heap of that size, in 4 KiB pages
 *   stack                  in a thread with the smallest stack of POSIX threads
 *   handler                in a signal handler: on an alternate stack, and in the
 *                          handler of a timer that interrupts a loop that binds too
 *   lengths [SCOPE]        every address length that bind(2) accepts; with SCOPE, the
 *                          name of an interface, its link-local address fe80::1
 *   options                sets options and flags, registers the socket with epoll,
 *                          binds, and finds all of it as it was; a client's connection
 *                          then wakes the epoll
 * musl compiles it too.
 */
#include "common.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/time.h>

static int once(char **words)
{
    int count = words[0] ? atoi(words[0]) : 1;
    void (*binder)(int) = bind_and_close;

    if (words[0] && words[1]) {
        void *module = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
        REQUIRE(module);
        *(void **)&binder = dlsym(module, "module_bind");
        REQUIRE(binder);
    }
    for (int i = 0; i < count; i++)
        binder(1);
    return puts("bound") < 0;
}

/* Every fourth page is written to: page tables for all, memory for a quarter. */
enum { STEP = 4 * 4096 };

static int with_a_big_heap(char **words)
{
    size_t size = (size_t)(words[0] ? atoi(words[0]) : 1) << 30;
    char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    REQUIRE(heap != MAP_FAILED);
    REQUIRE(madvise(heap, size, MADV_NOHUGEPAGE) == 0);
    for (size_t at = 0; at < size; at += STEP)
        heap[at] = (char)(at / STEP);
    for (int i = 0; i < 20; i++)
        bind_and_close(1);
    for (size_t at = 0; at < size; at += STEP)
        REQUIRE(heap[at] == (char)(at / STEP));
    return 0;
}

static void *bind_here(void *arg)
{
    for (int i = 0; i < 10; i++)
        bind_and_close(1);
    return arg;
}

static int on_a_small_stack(char **words)
{
    pthread_attr_t attr;
    pthread_t thread;

    (void)words;
    REQUIRE(pthread_attr_init(&attr) == 0);
    /* glibc's minimum is 16 KiB on x86 and 128 KiB on 64-bit ARM. */
    if (pthread_attr_setstacksize(&attr, 16384) != 0)
        REQUIRE(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN) == 0);
    REQUIRE(pthread_create(&thread, &attr, bind_here, NULL) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    return 0;
}

enum { HANDLER_BINDS = 100 };

static volatile sig_atomic_t handled;

static void bind_in_handler(int sig)
{
    int saved = errno;

    (void)sig;
    bind_and_close(2);
    handled++;
    errno = saved;
}

static int in_a_handler(char **words)
{
    static char room[65536];
    stack_t alternate = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = bind_in_handler, .sa_flags = SA_ONSTACK};
    struct itimerval often = {.it_interval.tv_usec = 700, .it_value.tv_usec = 700}, off = {0};

    (void)words;
    REQUIRE(sigaltstack(&alternate, NULL) == 0);
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    REQUIRE(raise(SIGUSR1) == 0 && handled == 1);
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (handled < HANDLER_BINDS)
        bind_and_close(1);
    REQUIRE(setitimer(ITIMER_REAL, &off, NULL) == 0);
    return 0;
}

static void bind6(const char *text, unsigned scope, socklen_t len)
{
    struct sockaddr_storage room = {0};
    struct sockaddr_in6 *wanted = (struct sockaddr_in6 *)&room, got = {0};
    socklen_t got_len = sizeof got;
    int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* other tests served at ::1 */
    wanted->sin6_family = AF_INET6;
    wanted->sin6_port = htons(80);
    wanted->sin6_scope_id = scope;
    REQUIRE(inet_pton(AF_INET6, text, &wanted->sin6_addr) == 1);
    REQUIRE(bind(fd, (struct sockaddr *)&room, len) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &got_len) == 0);
    REQUIRE(memcmp(&got.sin6_addr, &wanted->sin6_addr, sizeof got.sin6_addr) == 0);
    REQUIRE(got.sin6_port == htons(80) && got.sin6_scope_id == scope);
    close(fd);
}

static void bind4(socklen_t len)
{
    struct sockaddr_storage room = {0};
    struct sockaddr_in wanted = loopback(1, 80), got = {0};
    socklen_t got_len = sizeof got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&room, 0xff, sizeof room);
    memcpy(&room, &wanted, sizeof wanted);
    REQUIRE(bind(fd, (struct sockaddr *)&room, len) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&got, &got_len) == 0);
    REQUIRE(got.sin_port == wanted.sin_port && got.sin_addr.s_addr == wanted.sin_addr.s_addr);
    close(fd);
}

static int lengths(char **words)
{
    if (words[0]) {
        unsigned scope = if_nametoindex(words[0]);
        REQUIRE(scope != 0);
        bind6("fe80::1", scope, sizeof(struct sockaddr_in6));
        bind6("fe80::1", scope, sizeof(struct sockaddr_storage));
        return 0;
    }
    for (socklen_t len = sizeof(struct sockaddr_in); len <= sizeof(struct sockaddr_storage); len++)
        bind4(len);
    bind6("::1", 0, 24); /* the struct of RFC 2133, which has no scope */
    for (socklen_t len = sizeof(struct sockaddr_in6); len <= sizeof(struct sockaddr_storage); len++)
        bind6("::1", 0, len);
    return 0;
}

struct option {
    int level, name, value, expected; /* the kernel doubles buffer sizes */
};

static const struct option options[] = {
    {SOL_SOCKET, SO_REUSEADDR, 1, 1},
    {SOL_SOCKET, SO_REUSEPORT, 0, 0},
    {SOL_SOCKET, SO_KEEPALIVE, 1, 1},
    {SOL_SOCKET, SO_RCVBUF, 30000, 60000},
    {SOL_SOCKET, SO_SNDBUF, 40000, 80000},
    {SOL_SOCKET, SO_PRIORITY, 3, 3},
    {SOL_SOCKET, SO_RCVLOWAT, 5, 5},
    {IPPROTO_IPV6, IPV6_V6ONLY, 0, 0},
    {IPPROTO_IPV6, IPV6_TCLASS, 0x20, 0x20},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, 1},
    {IPPROTO_TCP, TCP_NODELAY, 1, 1},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 3, 3},
    {IPPROTO_TCP, TCP_KEEPIDLE, 77, 77},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 5000, 5000},
};

static int with_options(char **words)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    struct sockaddr_in local = loopback(1, 80);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 42}, got = {0};
    struct linger linger = {1, 7}, after = {0};
    socklen_t len = sizeof after;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC), client = socket(AF_INET, SOCK_STREAM, 0);

    (void)words;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        REQUIRE(setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                           sizeof options[i].value) == 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    REQUIRE(epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    REQUIRE(fcntl(fd, F_SETOWN, getpid()) == 0);

    REQUIRE(bind(fd, (struct sockaddr *)&any, sizeof any) == 0);

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int value = -1;
        socklen_t size = sizeof value;
        REQUIRE(getsockopt(fd, options[i].level, options[i].name, &value, &size) == 0);
        if (value != options[i].expected)
            dprintf(2, "level %d option %d: %d\n", options[i].level, options[i].name, value);
        REQUIRE(value == options[i].expected);
    }
    REQUIRE(getsockopt(fd, SOL_SOCKET, SO_LINGER, &after, &len) == 0);
    REQUIRE(after.l_onoff == 1 && after.l_linger == 7);
    REQUIRE(fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK));
    REQUIRE(fcntl(fd, F_GETOWN) == getpid());

    REQUIRE(listen(fd, 5) == 0);
    REQUIRE(connect(client, (struct sockaddr *)&local, sizeof local) == 0);
    REQUIRE(write(client, "hello", 5) == 5); /* TCP_DEFER_ACCEPT waits for data */
    REQUIRE(epoll_wait(poll_fd, &got, 1, 10000) == 1 && got.data.u64 == 42);
    REQUIRE(accept(fd, NULL, NULL) >= 0);
    return puts("options kept") < 0;
}

static const struct named_case cases[] = {
    {"once", once},
    {"heap", with_a_big_heap},
    {"stack", on_a_small_stack},
    {"handler", in_a_handler},
    {"lengths", lengths},
    {"options", with_options},
};

int main(int argc, char **argv)
{
    if (argc == 1)
        return once(argv + 1);
    return run_case(cases, sizeof cases / sizeof *cases, argv);
}
