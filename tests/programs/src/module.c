/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A plug-in that calls bind: its symbols are resolved when it is loaded.
 */
#include "common.h"

void module_bind(int last);

void module_bind(int last)
{
    bind_and_close(last);
}
