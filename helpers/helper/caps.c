/* SPDX-License-Identifier: MIT
 *
 * Makes the process harmless before main() does anything else, and holds the
 * one capability.  The start of the C library runs before main(), so it belongs
 * to the trusted process.  It reads the auxiliary vector, and it opens /dev/null
 * where one of the descriptors 0 to 2 is closed (protocol.h).
 *
 * The file carries cap_net_bind_service=p, not =ep.  With =ep and a reduced
 * bounding set, execve(2) itself fails, and nobody can say why (capabilities(7),
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

/* Undoes each setting that survives execve(2) and that a caller could turn
 * against the helper or against themselves (docs/hostile.md, 1, 2, 15 to 17, 20). */
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
    /* An ignored signal stays ignored across execve(2).  These two must end the
     * helper. */
    sigaction(SIGALRM, &dfl, NULL);
    sigaction(SIGTERM, &dfl, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A rule file may lie on a dead NFS server.  SIGALRM then ends the helper, so
     * that it cannot bind long after the caller gave up. */
    alarm(GIVE_UP_S);
    /* An inherited pipe would keep its reader waiting, and an inherited listening
     * socket would keep its port. */
    if (syscall(SYS_close_range, 1u, 2u, 0u) != 0 ||
        syscall(SYS_close_range, PB_SOCKET_FD + 1u, ~0u, 0u) != 0)
        _exit(1);
}

bool caps_confine(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};

    bool capable = syscall(SYS_capget, &header, data) == 0 && data[0].permitted & CAP_BIT;
    /* A helper that root starts loses CAP_DAC_OVERRIDE too, so the mode bits of the
     * permission files count for root as well.  The ambient set is emptied together
     * with the inheritable one (capabilities(7)). */
    if (caps_write(capable ? CAP_BIT : 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        _exit(1);
    return capable;
}

/* The capability is effective for exactly one system call.  Afterwards the process
 * has no capability at all.  Returns 0 or the errno of bind(2). */
int caps_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (caps_write(CAP_BIT, CAP_BIT) != 0)
        return EACCES;
    int error = bind(fd, addr, len) == 0 ? 0 : errno;
    if (caps_write(0, 0) != 0)
        _exit(1);
    return error;
}
