/* SPDX-License-Identifier: MIT
 *
 * A thread that has set no_new_privs cannot gain anything by a helper.  Mostly
 * it sets a seccomp filter next, which may kill it for asking prctl(2), or for
 * clone(2).  So the library sees it set, and remembers.  Of others (another
 * thread, a child, who made the system call itself) a process apart asks
 * (spawn.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "arch.h"
#include "preload.h"

typedef int prctl_fn(int, ...);

/* The prctl of a preload library behind this one, or libc's. */
static prctl_fn *next_prctl;

/* In the memory that each thread starts with: no function has to be called for it.
 * The process, because one made by vfork(2) has its parent's memory. */
static __thread int given_up_by __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void find_next(void)
{
    next_prctl = (prctl_fn *)next_symbol("prctl");
}

bool privileges_given_up(void)
{
    return given_up_by != 0 && given_up_by == raw(SYS_getpid, 0);
}

/* Those that the caller did not give are whatever was there, as for the kernel. */
__attribute__((visibility("default"))) int prctl(int option, ...)
{
    va_list words;

    va_start(words, option);
    unsigned long a = va_arg(words, unsigned long), b = va_arg(words, unsigned long);
    unsigned long c = va_arg(words, unsigned long), d = va_arg(words, unsigned long);
    va_end(words);
    long result = next_prctl ? next_prctl(option, a, b, c, d)
                             : raw(SYS_prctl, option, a, b, c, d);

    if (option == PR_SET_NO_NEW_PRIVS && result == 0) {
        if (limits_verbose)
            report_look();
        given_up_by = (int)raw(SYS_getpid, 0);
    }
    if (!next_prctl && result < 0) {
        if (&__errno_location)
            *__errno_location() = (int)-result;
        return -1;
    }
    return (int)result;
}
