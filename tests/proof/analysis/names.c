/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every name that the helper can spell, in two analyses.
 *
 * For Frama-C's Eva, the entry analysis_names(): no access is out of bounds, for every
 * question.  Eva does not keep the relation between digits and length.
 *
 * So main() shows that no name is too long: it spells a name of every possible length.
 * The length depends on the digits of each number, and in an IPv6 address on the
 * groups that are 0, so one value stands for all values with the same number of
 * digits.  The helper's names.c ends the process if a name does not fit, so a result
 * means that all names fit.
 */
#include "../../../helpers/helper/helper.h"

#ifdef __FRAMAC__

#include <__fc_builtin.h>

void analysis_names(void)
{
    struct question question;
    struct name n;
    bool compress = Frama_C_interval(0, 1), any_id = Frama_C_interval(0, 1);

    question.family = Frama_C_interval(0, 1) ? AF_INET : AF_INET6;
    for (int i = 0; i < 16; i++)
        question.addr[i] = (unsigned char)Frama_C_interval(0, 255);
    n.len = 0;
    if (any_id)
        name_put(&n, "bygroup");
    else
        name_put(&n, "byaddr");
    name_put(&n, "/!");
    if (any_id) {
        name_put_number(&n, Frama_C_unsigned_int_interval(0, 4294967295u), 10);
    } else {
        name_put_address(&n, &question, compress);
        name_put(&n, ",");
        name_put_number(&n, Frama_C_unsigned_int_interval(1, 65535), 10);
        name_put(&n, ",tcp");
    }
    /* Eva checks only the bounds of the whole struct; this is the bound of the text. */
    //@ assert n.len < 64;
}

#else

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned GROUPS[] = {0, 0x1, 0x10, 0x100, 0x1000};
static const unsigned OCTETS[] = {0, 10, 100};
static const unsigned PORTS[] = {1, 10, 100, 1000, 10000};
static unsigned long names, longest;

static void count(const struct name *n)
{
    if (strlen(n->text) != n->len)
        abort();
    names++;
    longest = n->len > longest ? n->len : longest;
}

/* Spells the longest forms of a name with this address; the other forms are shorter. */
static void spell_address(const struct question *q)
{
    for (int i = 0; i < 2 * 5; i++) {
        struct name n = {.len = 0};

        name_put(&n, "byaddr/!");
        name_put_address(&n, q, i % 2);
        name_put(&n, ",");
        name_put_number(&n, PORTS[i / 2], 10);
        name_put(&n, ",tcp");
        count(&n);
    }
}

static void spell_id(unsigned id)
{
    struct name n = {.len = 0};

    name_put(&n, "bygroup/!");
    name_put_number(&n, id, 10);
    count(&n);
}

int main(void)
{
    struct question q = {.family = AF_INET6};

    for (long number = 0; number < 5 * 5 * 5 * 5 * 5 * 5 * 5 * 5; number++) {
        long rest = number;
        for (int i = 0; i < 8; i++, rest /= 5) {
            q.addr[2 * i] = (unsigned char)(GROUPS[rest % 5] >> 8);
            q.addr[2 * i + 1] = (unsigned char)GROUPS[rest % 5];
        }
        spell_address(&q);
    }
    /* IPv4 addresses, and the last 32 bits of IPv6 ones that begin with 96 zeros, are octets. */
    for (int family = 0; family < 2; family++)
        for (int number = 0; number < 3 * 3 * 3 * 3; number++) {
            memset(q.addr, 0, sizeof q.addr);
            q.family = family ? AF_INET6 : AF_INET;
            for (int i = 0, rest = number; i < 4; i++, rest /= 3)
                q.addr[(family ? 12 : 0) + i] = (unsigned char)OCTETS[rest % 3];
            spell_address(&q);
        }
    for (unsigned long id = 1; id < 1ul << 32; id *= 10)
        spell_id((unsigned)id);
    spell_id(~0u);
    return printf("{\"names\": %lu, \"longest\": %lu}\n", names, longest) < 0;
}

#endif
