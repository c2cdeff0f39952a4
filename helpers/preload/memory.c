/* SPDX-License-Identifier: MIT
 *
 * The three functions that a freestanding compiler may call by itself.
 */
#include "preload.h"

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
    char *t = to;
    const char *f = from;

    while (len--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, size_t len)
{
    char *t = to;

    while (len--)
        *t++ = (char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
    const unsigned char *x = a, *y = b;

    for (; len--; x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}
