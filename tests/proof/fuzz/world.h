/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A kernel made of the fuzzer's bytes.  The helper is compiled unchanged.  Then
 * objcopy renames the system calls in its objects to those of world.c (process and
 * sockets) and files.c.  Each call takes its result from the input, and remembers the
 * result's meaning for the rules.  Renaming at link time would also rename the calls
 * of libFuzzer.
 */
#ifndef WORLD_H
#define WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "../../../helpers/helper/helper.h"
#include "oracle.h"

/* Steps that the helper must take before it reads a byte. */
enum harmless {
    UNDUMPABLE = 1,
    NO_CORE = 2,
    NO_NEW_PRIVS = 4,
    ALARM_ENDS = 8,
    TERM_ENDS = 16,
    UNBLOCKED = 32,
    GIVES_UP = 64,
    CLOSED_OUTPUTS = 128,
    CLOSED_REST = 256,
    NO_TIMER = 512, /* ITIMER_REAL is off; the next two bits stand for the other timers */
    HARMLESS = 8 * NO_TIMER - 1,
};

struct world {
    const uint8_t *at, *end; /* input not yet used */
    jmp_buf exited;
    int status;

    /* The request and its circumstances, from the input. */
    uint8_t message[128];
    size_t message_len;
    int message_flags;
    bool capable, half_uid, half_gid, foreign, reply_is_unix;
    int domain, type, protocol, bind_error;

    /* What the calls of the helper have returned so far. */
    bool unsafe;    /* something for which, by pybind(5), everything is refused */
    unsigned grants; /* files that grant: one, or two for :: */
    bool flag_open, rules_open;
    uint8_t rules[2048];
    size_t rules_len;
    bool rules_endless;

    /* What the helper has done so far. */
    unsigned binds, sends;
    unsigned made_harmless; /* steps of enum harmless */
    bool effective, permitted;
    struct sockaddr_storage bound;
    socklen_t bound_len;
    struct answer sent;
    size_t sent_len;
};

extern struct world world;

/* Takes the head of the input; the rest of the input answers the system calls. */
void world_start(const uint8_t *data, size_t size);

/* The next byte of the input, 0 after its end. */
unsigned world_next(void);

/* Sets errno and returns -1. */
int world_fail(int error);

/* Defines the function that replaces NAME in the helper. */
#define WRAP(type, name, ...) \
    type world_##name(__VA_ARGS__); \
    type world_##name(__VA_ARGS__)

#endif
