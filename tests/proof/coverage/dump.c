/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Linked only into coverage builds: writes the counters of the helper, or with
 * OF_LIBRARY those of the preload library.  Processes of several users write the same
 * files.
 */
#include <gcov.h>
#include <sys/stat.h>

#ifdef OF_LIBRARY

void __real_progress_stop(void);
void __wrap_progress_stop(void);

/* Programs write the counters at their end, and here, before they execute another program. */
void __wrap_progress_stop(void)
{
    mode_t before = umask(0);

    __real_progress_stop();
    __gcov_dump();
    __gcov_reset();
    umask(before);
}

__attribute__((destructor)) static void open_to_all(void)
{
    umask(0);
}

#else

_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

/* The helper exits by _exit(2), which writes no counters. */
_Noreturn void __wrap__exit(int status)
{
    umask(0);
    __gcov_dump();
    __real__exit(status);
}

#endif
