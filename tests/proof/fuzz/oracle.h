/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A second reader of rule lines, written only from the grammar in pybind(5).  It
 * shares no code with helpers/helper/parse.c, not even inet_pton(3), and reads
 * addresses as 128-bit numbers instead of bytes.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stddef.h>

enum oracle_verdict { ORACLE_BROKEN = -1, ORACLE_ELSEWHERE = 0, ORACLE_COVERS = 1 };

/* A question. address: 4 bytes, or 16 if v6, in network byte order. */
struct oracle_question {
    bool v6, udp;
    unsigned port;
    const unsigned char *address;
};

/* text: one line of len bytes without its newline; the function does not write to it. */
enum oracle_verdict oracle_line(const unsigned char *text, size_t len,
                                const struct oracle_question *question);

/* Reads a whole file. Returns the number of the first covering line, from 1, or 0 if no
* line covers. Returns -N if line N is the first broken line. */
long oracle_file(const unsigned char *text, size_t len, const struct oracle_question *question);

#endif
