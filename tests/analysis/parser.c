/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * For Frama-C's Eva: parse_line() on every line of up to LINE bytes and every
 * question.  inet_pton(3) is a stub that reads its text to the NUL, as any
 * must, and may write anything.
 */
#include <__fc_builtin.h>

#include "../../helpers/helper/helper.h"

#ifndef LINE
#define LINE 8
#endif

int inet_pton(int family, const char *restrict text, void *restrict addr)
{
    unsigned char *out = addr;

    for (; *text; text++)
        ;
    for (int i = 0; i < (family == AF_INET ? 4 : 16); i++)
        out[i] = (unsigned char)Frama_C_interval(0, 255);
    return Frama_C_interval(0, 1);
}

int main(void)
{
    char line[LINE + 1];
    struct question question;
    enum pb_fault fault;
    size_t len = (size_t)Frama_C_interval(0, LINE);

    //@ split len;
    for (size_t i = 0; i < len; i++)
        line[i] = (char)Frama_C_interval(-128, 127);
    line[len] = '\n';
    question.family = Frama_C_interval(0, 1) ? AF_INET : AF_INET6;
    question.port = (unsigned)Frama_C_interval(0, 65535);
    question.udp = Frama_C_interval(0, 1);
    for (int i = 0; i < 16; i++)
        question.addr[i] = (unsigned char)Frama_C_interval(0, 255);
    parse_line(line, len, &question, &fault);
    return 0;
}
