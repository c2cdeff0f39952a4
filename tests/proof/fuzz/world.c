/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "world.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define OWN_FD 102
#define CAP_BIT (1u << CAP_NET_BIND_SERVICE)

struct world world;

unsigned world_next(void)
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
    unsigned odd = world_next(), kind = world_next();
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
    world.message_len = world_next() % sizeof world.message;
    for (size_t i = 0; i < world.message_len; i++)
        world.message[i] = (uint8_t)world_next();
}

int world_fail(int error)
{
    errno = error;
    return -1;
}

/* Remembers a step that the helper did correctly. */
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
    int count = (int)(world_next() % 4);

    if (count == 3 || size < count)
        return world_fail(EINVAL);
    for (int i = 0; i < count; i++)
        list[i] = 1000 + (gid_t)i; /* the real group again, then another group */
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
    return domain == AF_UNIX && type && !protocol && world_next() < 250 ? OWN_FD : world_fail(EMFILE);
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
    return world.bind_error ? world_fail(world.bind_error) : 0;
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
            return world_fail(EPERM);
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
