/* SPDX-License-Identifier: MIT
 *
 * Makes the process harmless before main() does anything else, and holds the
 * one capability.  What runs before main(), the start of the C library, is part
 * of the trusted process: it reads the auxiliary vector, and descriptors 0 to 2
 * in case it has to open /dev/null for them (protocol.h).
 *
 * The file carries cap_net_bind_service=p, not =ep: with =ep and a reduced
 * bounding set execve(2) itself fails and nobody can say why (capabilities(7),
 * "Safety checking for capability-dumb binaries").
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "helper.h"

#define GIVE_UP_S 5
#define CAP_BIT (1u << CAP_NET_BIND_SERVICE)

/* The raw system calls: libcap would be the only reason to link a library. */
static int caps_write(unsigned permitted, unsigned effective)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.permitted = permitted, .effective = effective}};

    return (int)syscall(SYS_capset, &header, data);
}

/* Everything that crosses execve(2) and could be turned against the request
 * or against the caller's own bookkeeping (docs/hostile.md, 1, 2, 15 to 17, 20). */
void caps_sanitise(void)
{
    struct itimerval off = {0};
    struct rlimit no_core = {0, 0};
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none = {0};

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &no_core);
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++)
        setitimer(which, &off, NULL);
    /* Of dispositions only SIG_IGN crosses execve(2): these two must end us. */
    sigaction(SIGALRM, &dfl, NULL);
    sigaction(SIGTERM, &dfl, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A rule file on a dead NFS server must end in a refusal, not in a bind
     * long after the caller gave up: the default action of SIGALRM is death. */
    alarm(GIVE_UP_S);
    /* 1, 2 and everything above the socket: an inherited pipe would keep its
     * reader waiting, an inherited listener would keep its port. */
    if (syscall(SYS_close_range, 1u, 2u, 0u) != 0 ||
        syscall(SYS_close_range, PB_SOCKET_FD + 1u, ~0u, 0u) != 0)
        _exit(1);
}

bool caps_confine(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};

    bool capable = syscall(SYS_capget, &header, data) == 0 && data[0].permitted & CAP_BIT;
    /* Root's helper is judged as root's processes are by mode bits, not by
     * CAP_DAC_OVERRIDE: it too is left with the one capability.  The ambient
     * set goes with the inheritable one (capabilities(7)). */
    if (caps_write(capable ? CAP_BIT : 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        _exit(1);
    return capable;
}

/* The capability is effective for exactly one system call, and gone after. */
int caps_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (caps_write(CAP_BIT, CAP_BIT) != 0)
        return EACCES;
    int error = bind(fd, addr, len) == 0 ? 0 : errno;
    if (caps_write(0, 0) != 0)
        _exit(1);
    return error;
}
