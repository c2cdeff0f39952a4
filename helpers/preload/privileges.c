/* SPDX-License-Identifier: MIT
 *
 * After a thread has set no_new_privs, a helper has no capability and cannot help.
 * Mostly the thread then sets a seccomp filter, which may kill the thread for calling
 * prctl(2) or clone(2).  So the library notices when the thread sets no_new_privs,
 * and remembers.  Another thread, a child or a direct system call may set it unseen:
 * the intermediate therefore asks the kernel (spawn.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "arch.h"
#include "preload.h"

typedef int prctl_fn(int, ...);

/* The prctl of the next preload library, or libc's. */
static prctl_fn *next_prctl;

/* The process whose thread has set no_new_privs.  A child of vfork(2) has its parent's
 * memory, so a mere flag would be true in the parent too.  initial-exec: to reach the
 * variable, no function of libc is called. */
static __thread int given_up_by __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void find_next(void)
{
    next_prctl = (prctl_fn *)next_symbol("prctl");
}

bool privileges_given_up(void)
{
    return given_up_by != 0 && given_up_by == raw(SYS_getpid, 0);
}

/* Like the kernel, takes four words even where the caller passed fewer: the rest are
 * whatever stands in their place. */
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
