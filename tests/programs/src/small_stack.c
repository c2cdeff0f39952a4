/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Binds in a thread with the smallest stack of POSIX threads.
 */
#include "common.h"

#include <limits.h>

static void *bind_here(void *arg)
{
    for (int i = 0; i < 10; i++)
        bind_and_close(1);
    return arg;
}

int main(void)
{
    pthread_attr_t attr;
    pthread_t thread;

    REQUIRE(pthread_attr_init(&attr) == 0);
    /* glibc's minimum is 16 KiB on x86 and 128 KiB on 64-bit ARM. */
    if (pthread_attr_setstacksize(&attr, 16384) != 0)
        REQUIRE(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN) == 0);
    REQUIRE(pthread_create(&thread, &attr, bind_here, NULL) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    return 0;
}
