/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * For symbolic.py: each function returns 0 if the helper and plain arithmetic agree.
 * parse.c is included for its static functions.  The program is static, so that
 * musl's inet_pton(3) and memcmp(3) run.
 */
#include "../../../helpers/helper/parse.c"
#include "../fuzz/oracle.h"

typedef unsigned __int128 wide;

static wide wide_of(const unsigned char *bytes, int count)
{
    wide value = 0;

    for (int i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* Any rule and any question. */
int covers_disagrees(const struct rule *r, const struct question *q)
{
    int count = q->family == AF_INET ? 4 : 16;
    wide low = wide_of(r->addr_min, count), high = wide_of(r->addr_max, count);
    wide asked = wide_of(q->addr, count);
    bool here = r->family == 0 || (r->family == q->family && low <= asked && asked <= high);
    bool port = r->port_min <= q->port && q->port <= r->port_max;

    return (here && port && (q->udp ? r->udp : r->tcp)) != covers(r, q);
}

/* Any address, with the prefix length in text. */
int prefix_disagrees(char *text, unsigned length, struct rule *r)
{
    unsigned width = r->family == AF_INET ? 32 : 128;
    int count = (int)width / 8;
    wide host = length == width ? 0 : ~(wide)0 >> (128 - (width - length));
    wide low = wide_of(r->addr_min, count);
    enum pb_fault fault;

    memcpy(r->addr_max, r->addr_min, sizeof r->addr_max);
    fault = prefix(&text, r);
    if (low & host)
        return fault != PB_FAULT_HOST_BITS;
    return fault != PB_FAULT_NONE || wide_of(r->addr_max, count) != (low | host);
}

/* Any question to the line that is given. */
int line_disagrees(char *line, size_t len, const struct question *q)
{
    static char copy[256];
    struct oracle_question same = {q->family == AF_INET6, q->udp, q->port, q->addr};
    enum oracle_verdict expected = oracle_line((unsigned char *)line, len, &same);
    enum pb_fault fault;

    memcpy(copy, line, len);
    bool grants = parse_line(copy, len, q, &fault);
    return grants != (expected == ORACLE_COVERS) || (fault != 0) != (expected == ORACLE_BROKEN);
}

int main(void)
{
    return covers_disagrees(0, 0) + prefix_disagrees(0, 0, 0) + line_disagrees(0, 0, 0);
}
