/* SPDX-License-Identifier: MIT
 *
 * What the files of pybind-helper share:
 *   main.c    reads the request, calls the others in order, sends the reply
 *   caps.c    makes the process harmless and holds the capability
 *   socket.c  judges and binds descriptor 3
 *   rules.c   asks the permission files in order
 *   names.c   spells the names of permission files
 *   parse.c   reads one line of a rule file
 * None of them trusts anything that came from outside.
 */
#ifndef PYBIND_HELPER_H
#define PYBIND_HELPER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "../protocol.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* One question to the permission files: may this caller bind this socket address? */
struct question {
    int family;              /* AF_INET or AF_INET6; AF_INET for a v4-mapped address */
    unsigned char addr[16];  /* network byte order; AF_INET: the first four bytes */
    unsigned port;           /* host byte order, 1 to 65535 */
    bool udp;                /* false: TCP, or MPTCP, which counts as TCP */
};

struct answer {
    struct pb_reply reply;
    struct pb_trace trace;
};

/* caps.c */
void caps_sanitise(void);
bool caps_confine(void); /* true: CAP_NET_BIND_SERVICE is in the permitted set */
int caps_bind(int fd, const struct sockaddr *addr, socklen_t len);

/* socket.c */
enum pb_reason socket_check(int fd, int family, int *protocol, int *cause);
void socket_bind(int fd, const struct pb_request *request, struct pb_reply *reply);

/* names.c */
struct name {
    char text[PB_NAME_MAX];
    size_t len;
};
void name_put(struct name *n, const char *text);
void name_put_number(struct name *n, unsigned value, unsigned base);
void name_put_address(struct name *n, const struct question *q, bool compress);

/* rules.c */
void rules_judge(const struct pb_request *request, int protocol, struct answer *answer);

/* parse.c */
#define LINE_LEN_MAX 255
/* Returns whether the line covers the question.  *fault: what is wrong with the
 * line, or PB_FAULT_NONE. */
bool parse_line(char *line, size_t len, const struct question *question, enum pb_fault *fault);

#endif
