/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A program that obeys: it reads a command from each line of stdin, and prints an
 * answer as a line on stdout.  It exits with 0 at the end of stdin.
 *   pid                   -> PID PPID PGID SID
 *   bind PROTO ADDR PORT  -> errno of bind(2), 0 if bound; the socket is closed
 *   serve ADDR PORT       -> the same; answers HTTP there from now on
 *   unix                  -> the same for an abstract AF_UNIX name
 *   binder ADDR PORT      -> PID of a child that binds, says nothing and exits
 *   reap PID              -> wait status of that child
 *   orphan                -> PID of a grandchild whose parent has ended
 *   catch SIGNAL          -> 0; from now on it is counted
 *   count SIGNAL          -> how often it came
 *   raise SIGNAL          -> 0, after it was raised
 *   daemon                -> PID of the daemon, which goes on answering
 *   exit STATUS
 * With the argument "at-once" it obeys nothing, but sends SIGUSR1 to its whole group before
 * anything else, says "sent", and prints how often the signal came when its input has ended.
 */
#include "common.h"

#include <stddef.h>
#include <sys/un.h>

static volatile sig_atomic_t counts[NSIG];

static void on_signal(int sig)
{
    counts[sig]++;
}

/* Returns a bound socket, or -1. */
static int bound(const char *proto, const char *text, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = in.sin_port};
    int wide = strchr(text, ':') != NULL;
    int fd = socket(wide ? AF_INET6 : AF_INET, *proto == 'u' ? SOCK_DGRAM : SOCK_STREAM,
                    *proto == 'm' ? IPPROTO_MPTCP : 0);

    REQUIRE(fd >= 0);
    REQUIRE(inet_pton(wide ? AF_INET6 : AF_INET, text,
                      wide ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) == 1);
    int result = wide ? bind(fd, (struct sockaddr *)&in6, sizeof in6)
                      : bind(fd, (struct sockaddr *)&in, sizeof in);
    if (result == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bind_and_close_here(const char *proto, const char *text, int port)
{
    int fd = bound(proto, text, port);

    return fd < 0 ? errno : close(fd);
}

static void *answer(void *arg)
{
    int listener = *(int *)arg, fd;
    char request[4096];

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (read(fd, request, sizeof request) > 0)
            dprintf(fd, "HTTP/1.0 200 OK\r\n\r\nagent %d", getpid());
        close(fd);
    }
    return arg;
}

static int serve(const char *text, int port)
{
    int *listener = malloc(sizeof *listener);
    pthread_t thread;

    *listener = bound("tcp", text, port);
    if (*listener < 0)
        return errno;
    REQUIRE(listen(*listener, 16) == 0);
    REQUIRE(pthread_create(&thread, NULL, answer, listener) == 0);
    return 0;
}

static int bind_unix(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int len = snprintf(name.sun_path + 1, 64, "pybind-agent-%d", getpid());
    int result = bind(fd, (struct sockaddr *)&name,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len));
    int error = result == 0 ? 0 : errno;

    close(fd);
    return error;
}

static int start_binder(const char *text, int port)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(bind_and_close_here("tcp", text, port));
    return pid;
}

static int start_orphan(void)
{
    int ends[2], status;
    pid_t pid;

    REQUIRE(pipe(ends) == 0);
    pid_t middle = fork();
    if (middle == 0) {
        pid = fork();
        if (pid == 0)
            for (;;)
                pause();
        REQUIRE(write(ends[1], &pid, sizeof pid) == sizeof pid);
        _exit(0);
    }
    REQUIRE(waitpid(middle, &status, 0) == middle && status == 0);
    REQUIRE(read(ends[0], &pid, sizeof pid) == sizeof pid);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

/* Becomes a daemon (daemon(7)): the started program exits with 0, this process goes on. */
static int become_daemon(void)
{
    if (fork() != 0)
        _exit(0);
    REQUIRE(setsid() >= 0);
    if (fork() != 0)
        _exit(0);
    return getpid();
}

static int number_of(const char *word)
{
    return (int)strtol(word, NULL, 10);
}

static int catch(int sig)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    return sigaction(sig, &action, NULL);
}

static int reap(pid_t pid)
{
    int status;

    REQUIRE(waitpid(pid, &status, 0) == pid);
    return status;
}

static int obey(const char *name, char words[3][64])
{
    if (strcmp(name, "bind") == 0)
        return bind_and_close_here(words[0], words[1], number_of(words[2]));
    if (strcmp(name, "serve") == 0)
        return serve(words[0], number_of(words[1]));
    if (strcmp(name, "unix") == 0)
        return bind_unix();
    if (strcmp(name, "binder") == 0)
        return start_binder(words[0], number_of(words[1]));
    if (strcmp(name, "reap") == 0)
        return reap(number_of(words[0]));
    if (strcmp(name, "orphan") == 0)
        return start_orphan();
    if (strcmp(name, "catch") == 0)
        return catch(number_of(words[0]));
    if (strcmp(name, "count") == 0)
        return counts[number_of(words[0])];
    if (strcmp(name, "raise") == 0)
        return raise(number_of(words[0]));
    if (strcmp(name, "daemon") == 0)
        return become_daemon();
    if (strcmp(name, "exit") == 0)
        exit(number_of(words[0]));
    return -1;
}

/* Not stdio: a read(2) that a signal interrupts would look like the end of the input. */
static int read_line(char *line, size_t size)
{
    size_t used = 0;
    ssize_t got;

    while (used + 1 < size) {
        got = read(0, line + used, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        if (line[used] == '\n')
            break;
        used++;
    }
    line[used] = '\0';
    return 1;
}

static int signal_group_at_once(void)
{
    char line[256];

    catch(SIGUSR1);
    kill(0, SIGUSR1);
    dprintf(1, "sent\n");
    while (read_line(line, sizeof line))
        continue;
    dprintf(1, "%d\n", (int)counts[SIGUSR1]);
    return 0;
}

int main(int argc, char **argv)
{
    char line[256];

    if (argc > 1 && strcmp(argv[1], "at-once") == 0)
        return signal_group_at_once();
    while (read_line(line, sizeof line)) {
        char name[16] = "", words[3][64] = {"", "", ""};
        sscanf(line, "%15s %63s %63s %63s", name, words[0], words[1], words[2]);
        if (strcmp(name, "pid") == 0)
            dprintf(1, "%d %d %d %d\n", getpid(), getppid(), getpgrp(), getsid(0));
        else
            dprintf(1, "%d\n", obey(name, words));
    }
    return 0;
}
