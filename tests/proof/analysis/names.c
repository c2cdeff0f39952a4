/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * For Frama-C's Eva: every name that the helper can spell, for every question.
 * No access is out of bounds.  lengths.c shows that no name is too long, because Eva
 * does not keep the relation between digits and length.
 */
#include <__fc_builtin.h>

#include "../../../helpers/helper/helper.h"

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
