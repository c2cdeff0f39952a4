/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define CONFIG_FD 100
#define RULES_FD 101
#define OWN_FD 102
#define CAP_BIT (1u << CAP_NET_BIND_SERVICE)
#define WRAP(type, name, ...) \
    type world_##name(__VA_ARGS__); \
    type world_##name(__VA_ARGS__)

struct world world;

static unsigned next(void)
{
    return world.at < world.end ? *world.at++ : 0;
}

void world_start(const uint8_t *data, size_t size)
{
    static const int domains[] = {AF_INET, AF_INET6, AF_INET, AF_INET6, AF_UNIX, AF_VSOCK};
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_STREAM, SOCK_RAW};
    static const int protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_MPTCP, IPPROTO_SCTP,
                                    0, 136, IPPROTO_ICMP, IPPROTO_TCP};

    memset(&world, 0, sizeof world);
    world.at = data;
    world.end = data + size;
    unsigned odd = next(), kind = next();
    world.capable = !(odd & 1);
    world.half_uid = odd & 2;
    world.half_gid = odd & 4;
    world.foreign = odd & 8;
    world.reply_is_unix = !(odd & 16);
    world.message_flags = (odd & 32 ? MSG_CTRUNC : 0) | (odd & 64 ? MSG_TRUNC : 0);
    world.bind_error = odd & 128 ? EADDRINUSE : 0;
    world.domain = domains[kind % 6];
    world.type = types[kind / 6 % 4];
    world.protocol = protocols[kind / 24 % 8];
    world.message_len = next() % sizeof world.message;
    for (size_t i = 0; i < world.message_len; i++)
        world.message[i] = (uint8_t)next();
}

/* Nothing may be looked at once the rules have refused. */
static void look(void)
{
    if (world.unsafe || world.binds)
        abort();
}

static int fail(int error)
{
    errno = error;
    return -1;
}

/* Remembers a step that was done as it must be. */
static int harmless(bool well, unsigned step)
{
    if (!well)
        abort();
    world.made_harmless |= step;
    return 0;
}

WRAP(int, prctl, int option, ...)
{
    va_list list;

    va_start(list, option);
    unsigned long value = va_arg(list, unsigned long);
    va_end(list);
    if (option == PR_SET_NO_NEW_PRIVS)
        return harmless((int)value == 1, NO_NEW_PRIVS);
    return harmless(option == PR_SET_DUMPABLE && (int)value == 0, UNDUMPABLE);
}

WRAP(int, setrlimit, int which, const struct rlimit *limit)
{
    return harmless(which == RLIMIT_CORE && !limit->rlim_cur && !limit->rlim_max, NO_CORE);
}

WRAP(int, setitimer, int which, const struct itimerval *value, struct itimerval *old)
{
    const struct timeval *next_time = &value->it_value;
    bool off = !next_time->tv_sec && !next_time->tv_usec;

    /* alarm(2) is the same timer as ITIMER_REAL. */
    return harmless(off && !old && which >= ITIMER_REAL && which <= ITIMER_PROF &&
                        !(world.made_harmless & GIVES_UP),
                    NO_TIMER << which);
}

WRAP(int, sigaction, int signal, const struct sigaction *act, struct sigaction *old)
{
    bool ends = act->sa_handler == SIG_DFL && !old && (signal == SIGALRM || signal == SIGTERM);

    return harmless(ends, signal == SIGALRM ? ALARM_ENDS : TERM_ENDS);
}

WRAP(int, sigprocmask, int how, const sigset_t *set, sigset_t *old)
{
    bool none = !sigismember(set, SIGALRM) && !sigismember(set, SIGTERM);

    return harmless(how == SIG_SETMASK && none && !old, UNBLOCKED);
}

WRAP(unsigned, alarm, unsigned seconds)
{
    return (unsigned)harmless(seconds > 0 && seconds < 10, GIVES_UP);
}

static int close_range_of(unsigned first, unsigned last, unsigned flags)
{
    bool outputs = first == 1 && last == 2;

    return harmless(!flags && (outputs || (first == PB_SOCKET_FD + 1 && last == ~0u)),
                    outputs ? CLOSED_OUTPUTS : CLOSED_REST);
}

WRAP(uid_t, getuid, void)
{
    return 1000;
}

WRAP(uid_t, geteuid, void)
{
    return world.half_uid ? 0 : 1000;
}

WRAP(gid_t, getgid, void)
{
    return 1000;
}

WRAP(gid_t, getegid, void)
{
    return world.half_gid ? 0 : 1000;
}

WRAP(int, getgroups, int size, gid_t *list)
{
    int count = (int)(next() % 4);

    if (count == 3 || size < count)
        return fail(EINVAL);
    for (int i = 0; i < count; i++)
        list[i] = 1000 + (gid_t)i; /* the real group once more, then another */
    return count;
}

WRAP(int, getsockopt, int fd, int level, int option, void *value, socklen_t *len)
{
    uint64_t cookie = fd == PB_SOCKET_FD && world.foreign ? 7 : 1;
    int number = option == SO_DOMAIN ? world.domain
                 : option == SO_TYPE ? world.type
                                     : world.protocol;

    if (level != SOL_SOCKET)
        abort();
    if (fd == PB_REPLY_FD)
        number = world.reply_is_unix ? AF_UNIX : AF_INET;
    if (option == 71) /* SO_NETNS_COOKIE */
        memcpy(value, &cookie, *len = sizeof cookie);
    else
        memcpy(value, &number, *len = sizeof number);
    return 0;
}

WRAP(int, socket, int domain, int type, int protocol)
{
    return domain == AF_UNIX && type && !protocol && next() < 250 ? OWN_FD : fail(EMFILE);
}

WRAP(ssize_t, recvmsg, int fd, struct msghdr *msg, int flags)
{
    struct iovec *iov = msg->msg_iov;
    size_t len = world.message_len < iov->iov_len ? world.message_len : iov->iov_len;

    if (fd != PB_REPLY_FD || flags || msg->msg_iovlen != 1 || msg->msg_control ||
        world.made_harmless != HARMLESS || world.effective)
        abort();
    memcpy(iov->iov_base, world.message, len);
    msg->msg_flags = world.message_flags | (world.message_len > len ? MSG_TRUNC : 0);
    return (ssize_t)len;
}

WRAP(ssize_t, send, int fd, const void *data, size_t len, int flags)
{
    if (fd != PB_REPLY_FD || flags != (MSG_NOSIGNAL | MSG_DONTWAIT) || len > sizeof world.sent)
        abort();
    memcpy(&world.sent, data, len);
    world.sent_len = len;
    world.sends++;
    return (ssize_t)len;
}

WRAP(int, bind, int fd, const struct sockaddr *addr, socklen_t len)
{
    if (fd != PB_SOCKET_FD || !world.effective || !world.permitted)
        abort();
    memcpy(&world.bound, addr, len);
    world.bound_len = len;
    world.binds++;
    return world.bind_error ? fail(world.bind_error) : 0;
}

/* Outcomes 1 to 4 of both calls: what only root may be trusted with is not safely his. */
static void spoil(struct stat *st, unsigned what, mode_t other_kind)
{
    if (what == 1)
        st->st_mode = other_kind;
    else if (what == 2)
        st->st_mode |= S_IWGRP;
    else if (what == 3)
        st->st_mode |= S_IWOTH;
    else if (what == 4)
        st->st_uid = 1000;
}

WRAP(int, fstatat, int dir, const char *path, struct stat *st, int flags)
{
    bool below = dir == CONFIG_FD, flag_file = below && strchr(path, '/');
    unsigned what = next() % 16;

    look();
    if (!(flags & AT_SYMLINK_NOFOLLOW))
        abort();
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFDIR | 0755;
    if (flag_file) {
        st->st_mode = S_IFREG | 0777;
        st->st_uid = 1000; /* anybody's is fine */
        world.flag_open = what == 1 || what == 2;
        if (what == 3)
            st->st_mode = S_IFLNK | 0777;
        world.unsafe = what == 3 || what == 4;
        return what == 4 ? fail(EIO) : what == 0 || what > 4 ? fail(ENOENT) : 0;
    }
    spoil(st, what, S_IFLNK | 0777);
    world.unsafe = (what >= 1 && what <= 5) || (what == 6 && !below);
    return what == 5 ? fail(EACCES) : what == 6 ? fail(ENOENT) : 0;
}

WRAP(int, faccessat, int dir, const char *path, int mode, int flags)
{
    unsigned what = next() % 4;

    look();
    if (dir != CONFIG_FD || mode != X_OK || flags || !world.flag_open)
        abort();
    if (strncmp(path, "byport/", 7) != 0 && strncmp(path, "byaddr/", 7) != 0)
        abort();
    world.flag_open = false;
    if (what < 2)
        world.grants++;
    else
        world.unsafe = true;
    return what < 2 ? 0 : fail(what == 2 ? EACCES : ETXTBSY);
}

WRAP(int, open, const char *path, int flags, ...)
{
    /* Before a refusal for an unsafe path the helper opens it once more. */
    if (strcmp(path, CONFIG_DIR) != 0 || !(flags & O_PATH) || !(flags & O_NOFOLLOW))
        abort();
    if (next() < 250)
        return CONFIG_FD;
    world.unsafe = true;
    return fail(EMFILE);
}

WRAP(int, openat, int dir, const char *path, int flags, ...)
{
    unsigned what = next() % 8;

    look();
    if (dir != CONFIG_FD || (flags & O_ACCMODE) != O_RDONLY || !(flags & O_NOFOLLOW) ||
        !(flags & O_NONBLOCK) || /* a FIFO would keep it waiting */
        (strncmp(path, "byuser/", 7) != 0 && strncmp(path, "bygroup/", 8) != 0))
        abort();
    if (what == 1 || what == 2) {
        world.rules_open = true;
        world.rules_len = 0;
        world.rules_endless = false;
        return RULES_FD;
    }
    world.unsafe = what >= 3 && what <= 5;
    return fail(what == 3 ? EACCES : what == 4 ? ELOOP : what == 5 ? EMFILE : ENOENT);
}

WRAP(int, fstat, int fd, struct stat *st)
{
    unsigned what = next() % 16;

    look();
    if (fd != RULES_FD)
        abort();
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFREG | 0644;
    spoil(st, what, S_IFIFO | 0644);
    world.unsafe = what >= 1 && what <= 5;
    return what == 5 ? fail(EIO) : 0;
}

/* The file's bytes are the input's next ones, in chunks as long as the first
 * byte of each says; an empty chunk is the end. */
WRAP(ssize_t, read, int fd, void *data, size_t size)
{
    unsigned what = next();
    size_t len = what;

    look();
    if (fd != RULES_FD || !world.rules_open)
        abort();
    if (what == 255) {
        world.rules_endless = true; /* may be more than the helper takes */
        memset(data, '\n', size);
        return (ssize_t)size;
    }
    if (what == 254) {
        world.unsafe = true;
        return fail(EIO);
    }
    len = len < size ? len : size;
    len = len < (size_t)(world.end - world.at) ? len : (size_t)(world.end - world.at);
    if (world.rules_len + len > sizeof world.rules)
        len = sizeof world.rules - world.rules_len;
    memcpy(data, world.at, len);
    memcpy(world.rules + world.rules_len, world.at, len);
    world.at += len;
    world.rules_len += len;
    return (ssize_t)len;
}

/* Closing is where a rule file has been read: the oracle judges it. */
WRAP(int, close, int fd)
{
    struct pb_request request;

    if (fd != RULES_FD || !world.rules_open)
        abort();
    world.rules_open = false;
    if (world.unsafe || world.rules_endless) {
        world.unsafe = true;
        return fail(EIO); /* must not decide anything */
    }
    memcpy(&request, world.message, sizeof request);
    static const unsigned char zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool is_mapped = request.family == AF_INET6 && memcmp(request.addr, mapped, 12) == 0;
    bool half = request.family == AF_INET6 && memcmp(request.addr, zero, 16) == 0 &&
                world.grants == 1;
    int protocol = request.op == PB_OP_BIND ? world.protocol : request.protocol;
    struct oracle_question question = {
        .v6 = request.family == AF_INET6 && !is_mapped && !half,
        .udp = protocol == IPPROTO_UDP,
        .port = ntohs(request.port),
        .address = is_mapped ? request.addr + 12 : request.addr,
    };
    long line = oracle_file(world.rules, world.rules_len, &question);
    if (line < 0)
        world.unsafe = true;
    else if (line > 0)
        world.grants++;
    return 0;
}

WRAP(long, syscall, long number, ...)
{
    va_list list;

    va_start(list, number);
    void *first = va_arg(list, void *);
    struct __user_cap_data_struct *data = va_arg(list, void *);
    unsigned flags = number == SYS_close_range ? va_arg(list, unsigned) : 0;
    va_end(list);
    switch (number) {
    case SYS_close_range:
        return close_range_of((unsigned)(uintptr_t)first, (unsigned)(uintptr_t)data, flags);
    case SYS_capget:
        data[0].permitted = world.capable ? ~0u : 0;
        data[0].effective = data[0].permitted;
        world.permitted = world.effective = world.capable;
        return 0;
    case SYS_capset:
        if (data[1].permitted || data[1].effective || (data[0].permitted & ~CAP_BIT))
            abort();
        if (data[0].permitted && !world.permitted)
            return fail(EPERM);
        world.permitted = data[0].permitted & CAP_BIT;
        world.effective = data[0].effective & CAP_BIT;
        return 0;
    default:
        abort();
    }
}

WRAP(_Noreturn void, _exit, int status)
{
    world.status = status;
    longjmp(world.exited, 1);
}
