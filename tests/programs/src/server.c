/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * server HOW [PORT]: an HTTP server on every IPv4 address that calls bind in the way
 * HOW.  The answer is "HOW PROTOCOL PORT", with protocol and port of the socket.  The
 * default PORT is 80.  Status 77 means that this machine has no such way.
 *
 * server given FD: serves on an inherited listening socket.  The answer is "uid UID", the
 * effective one.  With -DLIBSYSTEMD systemd's own library finds the socket, whose name is
 * the argument.
 */
#include "common.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#ifdef LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

enum { NO_SUCH_WAY = 77, I386_BIND = 361, I386_SOCKETCALL = 102, I386_GETPID = 20 };
enum { SOCKETCALL_BIND = 2, X32_BIT = 0x40000000 };

#ifdef __x86_64__
/* Makes i386 system calls from a 64-bit program; addresses must be below 4 GiB. */
static long int80(long number, long a, long b, long c)
{
    long result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

static int by_int80(int fd, const struct sockaddr_in *addr, int socketcall)
{
    unsigned *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

    REQUIRE(low != MAP_FAILED);
    if (int80(I386_GETPID, 0, 0, 0) != getpid())
        exit(NO_SUCH_WAY);
    memcpy(low + 16, addr, sizeof *addr);
    low[0] = (unsigned)fd;
    low[1] = (unsigned)(unsigned long)(low + 16);
    low[2] = sizeof *addr;
    long result = socketcall ? int80(I386_SOCKETCALL, SOCKETCALL_BIND, (long)low, 0)
                             : int80(I386_BIND, fd, low[1], sizeof *addr);
    errno = result < 0 ? (int)-result : 0;
    return result < 0 ? -1 : 0;
}
#endif

static int bind_by(const char *how, int fd, struct sockaddr_in *addr)
{
    if (strcmp(how, "syscall") == 0)
        return (int)syscall(SYS_bind, fd, addr, sizeof *addr);
#ifdef __GLIBC__
    if (strcmp(how, "bindresvport") == 0)
        return bindresvport(fd, NULL);
#endif
#ifdef __i386__
    if (strcmp(how, "socketcall") == 0) {
        long words[] = {fd, (long)addr, sizeof *addr};
        return (int)syscall(SYS_socketcall, SOCKETCALL_BIND, words);
    }
#endif
#ifdef __x86_64__
    if (strncmp(how, "int80", 5) == 0)
        return by_int80(fd, addr, strcmp(how, "int80-socketcall") == 0);
    if (strcmp(how, "x32") == 0) {
        if (syscall(X32_BIT | SYS_getpid) != getpid())
            exit(NO_SUCH_WAY);
        return (int)syscall(X32_BIT | SYS_bind, fd, addr, sizeof *addr);
    }
#endif
    if (strcmp(how, "bind") != 0 && strcmp(how, "mptcp") != 0)
        exit(NO_SUCH_WAY);
    return bind(fd, (struct sockaddr *)addr, sizeof *addr);
}

/* Returns a listening socket; *body becomes its answer, which is also printed. */
static int bound_socket(const char *how, int port, char *body, size_t size)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    int protocol = 0, on = 1;
    socklen_t len = sizeof protocol;

    addr.sin_port = htons((unsigned short)port);
    int fd = socket(AF_INET, SOCK_STREAM, strcmp(how, "mptcp") == 0 ? IPPROTO_MPTCP : 0);
    REQUIRE(fd >= 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    REQUIRE(bind_by(how, fd, &addr) == 0);
    REQUIRE(listen(fd, 16) == 0);
    REQUIRE(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0);
    len = sizeof addr;
    REQUIRE(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
    snprintf(body, size, "%s %d %d", how, protocol, ntohs(addr.sin_port));
    printf("%s\n", body);
    fflush(stdout);
    return fd;
}

#ifdef LIBSYSTEMD
static int given_socket(const char *name)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);

    if (count != 1 || strcmp(names[0], name) != 0) {
        fprintf(stderr, "%d sockets, name %s\n", count, count > 0 ? names[0] : "");
        exit(1);
    }
    if (sd_is_socket_inet(SD_LISTEN_FDS_START, AF_INET6, SOCK_STREAM, 1, 80) != 1) {
        fprintf(stderr, "not a listening socket of port 80\n");
        exit(1);
    }
    return SD_LISTEN_FDS_START;
}
#else
static int given_socket(const char *number)
{
    return atoi(number);
}
#endif

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "bind";
    char request[4096], body[100];
    int fd;

    /* Prints nothing: with --inetd the socket is the standard output too. */
    if (argc > 2 && strcmp(how, "given") == 0) {
        fd = given_socket(argv[2]);
        snprintf(body, sizeof body, "uid %d", (int)geteuid());
    } else {
        fd = bound_socket(how, argc > 2 ? atoi(argv[2]) : 80, body, sizeof body);
    }
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int client = accept(fd, NULL, NULL);
        REQUIRE(client >= 0);
        if (read(client, request, sizeof request) > 0)
            dprintf(client, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
        close(client);
    }
}
