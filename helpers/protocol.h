/* SPDX-License-Identifier: MIT
 *
 * The wire format between pybind-helper and those who ask it: the preload
 * library in C and the command in Python.  tools/gen_wire.py makes
 * pybind/_wire.py from this file, and a test compares the two.
 *
 * One helper process serves one request.  It is started with
 *     descriptor 0   one end of a private SOCK_SEQPACKET socketpair(2)
 *     descriptors 1, 2   the same end: otherwise the helper's libc opens
 *                    /dev/null for them before main()
 *     descriptor 3   the program's own socket (PB_OP_BIND only)
 * The helper reads one struct pb_request, sends one message and exits.  The
 * message is a struct pb_reply.  After PB_OP_CHECK a struct pb_trace follows in
 * the same message, unless the request was refused before the rules were asked.
 *
 * Both ends are on one machine, so integers are in host byte order.  Only port
 * and addr are in network byte order, as in sockaddr_in(6).
 *
 * The first eight bytes of both messages never change.  A helper answers a
 * version that it does not speak with PB_REASON_VERSION: after an upgrade under a
 * running server, nobody guesses what a message of the other version means.
 */
#ifndef PYBIND_PROTOCOL_H
#define PYBIND_PROTOCOL_H

#include <stdint.h>

#define PB_MAGIC 0x64627970u /* "pybd" read as bytes on a little-endian machine */
#define PB_VERSION 1

#define PB_REPLY_FD 0
#define PB_SOCKET_FD 3

#define PB_NAME_MAX 64   /* "byaddr/!" + 39 of address + ",65535,tcp" + NUL */
#define PB_TRACE_MAX 160 /* steps kept; PB_FLAG_TRUNCATED: there were more */

/* Numbers of requests are even, so that a stray reply is never taken for one. */
enum pb_op {
    PB_OP_CHECK = 2, /* evaluate the rules, bind nothing, return the trace */
    PB_OP_BIND = 4,  /* evaluate the rules, bind descriptor 3 */
};

struct pb_request {
    uint32_t magic;
    uint16_t version;
    uint16_t op;
    uint16_t family;   /* AF_INET or AF_INET6 */
    uint16_t protocol; /* IPPROTO_*; must be 0 in a bind: the socket tells */
    uint16_t port;     /* network byte order */
    uint16_t zero;
    uint32_t flowinfo; /* sin6_flowinfo, as the program gave it */
    uint32_t scope_id; /* sin6_scope_id; reaches bind(2), never the rules */
    uint8_t addr[16];  /* network byte order; AF_INET: the first four, rest 0 */
};

/* The reasons of an answer.  The texts are for people. */
#define PB_REASONS(X) \
    X(GRANTED, 0, "granted") \
    X(MALFORMED, 1, "malformed request") \
    X(VERSION, 2, "the helper is of another version") \
    X(IDS, 3, "real and effective ids differ") \
    X(SOCKET_KIND, 4, "not a TCP, UDP or MPTCP socket") \
    X(SOCKET_FAMILY, 5, "address family is not the socket's") \
    X(NETNS, 6, "socket of another network namespace") \
    X(NETNS_UNKNOWN, 7, "network namespaces cannot be told apart (before Linux 5.14, or AF_UNIX is denied)") \
    X(PORT_ZERO, 8, "port 0 is never privileged") \
    X(CONFIG_MISSING, 9, "the permission directory does not exist") \
    X(CONFIG_UNSAFE, 10, "a permission directory is not safely root's") \
    X(CONFIG_ERROR, 11, "a permission directory could not be examined") \
    X(FLAG_DENIED, 12, "permission file is not executable for this user") \
    X(FLAG_KIND, 13, "permission file is not a regular file") \
    X(FLAG_ERROR, 14, "permission file could not be examined") \
    X(RULES_UNSAFE, 15, "rule file is not safely root's") \
    X(RULES_UNREADABLE, 16, "rule file is not readable by this user") \
    X(RULES_ERROR, 17, "rule file could not be read") \
    X(RULES_TOO_BIG, 18, "rule file is larger than 1 MiB") \
    X(RULES_BROKEN, 19, "rule file has a broken line") \
    X(NO_RULE, 20, "no permission file grants it") \
    X(NO_CAPABILITY, 21, "granted, but the helper has no CAP_NET_BIND_SERVICE") \
    X(KERNEL, 22, "granted, but bind(2) itself failed")

enum pb_reason {
#define X(name, value, text) PB_REASON_##name = value,
    PB_REASONS(X)
#undef X
};

/* What is wrong with a line (reason PB_REASON_RULES_BROKEN). */
#define PB_FAULTS(X) \
    X(NONE, 0, "nothing") \
    X(TOO_LONG, 1, "line is longer than 255 bytes") \
    X(BYTE, 2, "byte that no rule contains (NUL, carriage return, control or non-ASCII byte)") \
    X(SYNTAX, 3, "not of the form ADDRESS[-ADDRESS|/LENGTH],PORT[-PORT][/PROTOCOL]") \
    X(ADDRESS, 4, "not an IPv4 or IPv6 address") \
    X(LENGTH, 5, "prefix length out of range") \
    X(HOST_BITS, 6, "address has bits set beyond its prefix length") \
    X(ORDER, 7, "range whose minimum is above its maximum, or of two families") \
    X(PORT, 8, "port number out of range") \
    X(PROTOCOL, 9, "protocol is neither tcp nor udp")

enum pb_fault {
#define X(name, value, text) PB_FAULT_##name = value,
    PB_FAULTS(X)
#undef X
};

/* The texts that -v prints for a bind that fails for one of these reasons.  The library
 * (report.c) and the supervisor (verbose.py) print the same line:
 *     pybind: bind of port PORT/PROTOCOL (IPv4): TEXT
 * After the text of PORT, PROTOCOL and ADDRESS stands PORT/PROTOCOL; after NO_GRANT the
 * uid, a blank and PORT/PROTOCOL; after BUSY the port. */
#define PB_WORDS(X) \
    X(PORT, 1, "not among the ports of --port; to serve it, add: --port ") \
    X(PROTOCOL, 2, "--port names this port for another protocol; to serve it, add: --port ") \
    X(ADDRESS, 3, "--port names this port for another address; to serve it, add: --port ") \
    X(NO_GRANT, 4, "no permission file grants it; to grant it: sudo pybindctl grant ") \
    X(BUSY, 5, "granted, and the port is in use; to see by whom: sudo ss -Hltunp sport = :") \
    X(NO_NEW_PRIVS, 6, "this process has set no_new_privs, so a helper gains nothing; " \
                       "to serve it all the same: pybind --mode supervise") \
    X(SECCOMP, 7, "a seccomp filter that root has set keeps this process from starting the helper; " \
                  "start the program where that filter is not") \
    X(USER_NAMESPACE, 8, "this process is in a user namespace, where no grant counts; " \
                         "to serve it, started outside: pybind --mode supervise") \
    X(NO_HELPER, 9, "the helper is not in the root directory of this process; " \
                    "where the program changed that, this serves it: pybind --mode supervise")

enum pb_word {
#define X(name, value, text) PB_WORD_##name = value,
    PB_WORDS(X)
#undef X
};

#define PB_FLAG_CAPABLE 1u    /* the helper has CAP_NET_BIND_SERVICE */
#define PB_FLAG_V4_HALF 2u    /* the refusal is about 0.0.0.0, the other half of :: */
#define PB_FLAG_TRUNCATED 4u  /* more than PB_TRACE_MAX steps: the last are missing */

struct pb_reply {
    uint32_t magic;
    uint16_t version;
    uint16_t reason; /* enum pb_reason */
    int32_t error;   /* 0, or the errno that bind() is to report */
    int32_t cause;   /* errno behind the reason, or 0 */
    uint32_t line;   /* rule line that decided or is broken, from 1; else 0 */
    uint16_t fault;  /* enum pb_fault */
    uint16_t flags;  /* PB_FLAG_* */
    char name[PB_NAME_MAX]; /* deciding file below the permission directory, NUL padded */
};

#define PB_STEPS(X) \
    X(ABSENT, 0, "does not exist") \
    X(GRANTS, 1, "grants") \
    X(NO_MATCH, 2, "no line covers it") \
    X(REFUSES, 3, "refuses")

enum pb_step_result {
#define X(name, value, text) PB_STEP_##name = value,
    PB_STEPS(X)
#undef X
};

struct pb_step {
    uint16_t result; /* enum pb_step_result */
    uint16_t v4_half; /* 1: a step in judging 0.0.0.0, for a request of :: */
    uint32_t line;
    char name[PB_NAME_MAX];
};

struct pb_trace {
    uint32_t count;
    struct pb_step steps[PB_TRACE_MAX];
};

#endif
