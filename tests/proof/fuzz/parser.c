/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One execution gives a line of a rule file and a question to parse_line() of the
 * helper and to the oracle.  The input is
 *     1 byte    bit 0: IPv6, bit 1: UDP
 *     2 bytes   port, high byte first
 *     16 bytes  address
 *     the rest  the line
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../../helpers/helper/helper.h"
#include "oracle.h"

#define HEAD 19

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD)
        return -1;
    struct question question = {.family = data[0] & 1 ? AF_INET6 : AF_INET,
                                .udp = data[0] & 2,
                                .port = (unsigned)data[1] << 8 | data[2]};
    struct oracle_question same = {data[0] & 1, data[0] & 2, question.port, data + 3};
    size_t len = size - HEAD;
    char *line = malloc(len + 1); /* exactly the size that parse_line() may touch */
    enum pb_fault fault = PB_FAULT_NONE;

    if (line == NULL)
        abort();
    memcpy(question.addr, data + 3, question.family == AF_INET ? 4 : 16);
    memcpy(line, data + HEAD, len);
    line[len] = '\n';
    bool grants = parse_line(line, len, &question, &fault);
    free(line);
    enum oracle_verdict expected = oracle_line(data + HEAD, len, &same);
    if (grants != (expected == ORACLE_COVERS) || (fault != 0) != (expected == ORACLE_BROKEN))
        abort();
    return 0;
}
