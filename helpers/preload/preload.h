/* SPDX-License-Identifier: MIT
 *
 * What the files of the preload library share: bind.c is what the program
 * calls, limits.c what the command told the library through the environment,
 * spawn.c starts one helper.  No libc is linked: the library loads into glibc
 * and musl programs, and must work where libc's own state cannot be trusted.
 */
#ifndef PYBIND_PRELOAD_H
#define PYBIND_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "../protocol.h"

/* In host byte order. ntohs(3) is a function of libc where nothing is optimised. */
static inline unsigned port_of(const struct pb_request *request)
{
    const unsigned char *bytes = (const unsigned char *)&request->port;

    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* limits.c */
extern bool limits_verbose;
bool limits_allow(const struct pb_request *request, int protocol);

/* spawn.c */
enum spawn_result { SPAWN_ANSWERED, SPAWN_VANISHED, SPAWN_FAILED };
enum spawn_result spawn_helper(int fd, const struct pb_request *request, struct pb_reply *reply);
unsigned spawn_mark(void);
bool spawn_had_copies(unsigned mark, unsigned own);

/* report.c: only after -v */
void report(int fd, const struct pb_request *request, const struct pb_reply *reply,
            int exec_error);

/* memory.c: the compiler may call these by itself. */
void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);

#endif
