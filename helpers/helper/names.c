/* SPDX-License-Identifier: MIT
 *
 * The names of permission files below the permission directory.  The spelling is
 * authbind's (pybind(5)), so that an administrator can move authbind's files here.
 */
#include <string.h>
#include <unistd.h>

#include "helper.h"

void name_put(struct name *n, const char *text)
{
    size_t len = strlen(text);

    if (n->len + len >= sizeof n->text)
        _exit(1); /* a name that does not fit would be a bug, never a grant */
    memcpy(n->text + n->len, text, len + 1);
    n->len += len;
}

void name_put_number(struct name *n, unsigned value, unsigned base)
{
    char digits[11], *p = digits + sizeof digits - 1;

    *p = '\0';
    do
        *--p = "0123456789abcdef"[value % base];
    while (value /= base);
    name_put(n, p);
}

static void put_ipv4(struct name *n, const unsigned char *addr)
{
    for (int i = 0; i < 4; i++) {
        name_put(n, i ? "." : "");
        name_put_number(n, addr[i], 10);
    }
}

/* Not inet_ntop(3): musl and glibc compress addresses differently, and the helper
 * would look for another file than the administrator made.  As in RFC 5952, ::
 * stands for the longest run of two or more zero groups, and for the first of two
 * equal runs.  As in glibc, an address whose first 96 bits are 0 is ::a.b.c.d. */
static void put_ipv6(struct name *n, const unsigned char *addr, bool compress)
{
    unsigned group[8];
    int best = -9, best_len = compress ? 1 : 8;

    for (int i = 0; i < 8; i++)
        group[i] = (unsigned)addr[2 * i] << 8 | addr[2 * i + 1];
    for (int i = 0, len; i < 8; i += len + 1) {
        for (len = 0; i + len < 8 && group[i + len] == 0; len++)
            ;
        if (len > best_len)
            best = i, best_len = len;
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            name_put(n, "::");
            i += best_len - 1;
            continue;
        }
        name_put(n, i && i != best + best_len ? ":" : "");
        if (i == 6 && best == 0 && best_len == 6) {
            put_ipv4(n, addr + 12);
            return;
        }
        name_put_number(n, group[i], 16);
    }
}

void name_put_address(struct name *n, const struct question *q, bool compress)
{
    q->family == AF_INET ? put_ipv4(n, q->addr) : put_ipv6(n, q->addr, compress);
}
