/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Linked into the library's coverage build only: programs of several users
 * write the same files when they end.
 */
#include <sys/stat.h>

__attribute__((destructor)) static void open_to_all(void)
{
    umask(0);
}
