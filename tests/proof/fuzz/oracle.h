/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A second reader of rule lines, written from the grammar in pybind(5) alone:
 * it shares no line with helpers/helper/parse.c, not even inet_pton(3), and
 * reads addresses into 128-bit numbers instead of bytes.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stddef.h>

enum oracle_verdict { ORACLE_BROKEN = -1, ORACLE_ELSEWHERE = 0, ORACLE_COVERS = 1 };

/* What is asked; address: 4 or 16 bytes in network byte order by v6. */
struct oracle_question {
    bool v6, udp;
    unsigned port;
    const unsigned char *address;
};

/* text: one line of len bytes without its newline; nothing is written to. */
enum oracle_verdict oracle_line(const unsigned char *text, size_t len,
                                const struct oracle_question *question);

/* A whole file: the first covering line (from 1) when all lines are valid,
 * 0 when none covers, -N when line N is the first that is broken. */
long oracle_file(const unsigned char *text, size_t len, const struct oracle_question *question);

#endif
