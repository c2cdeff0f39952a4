/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Linked only into the library's coverage build.  Programs of several users write
 * the same files, at their end and before they execute another program, where
 * progress_stop() is called.
 */
#include <sys/stat.h>

void __gcov_dump(void);
void __gcov_reset(void);
void __real_progress_stop(void);
void __wrap_progress_stop(void);

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
