/* SPDX-License-Identifier: MIT
 *
 * What the files of pybind-helper share.  main.c is the order of things;
 * caps.c makes the process harmless and holds the capability; socket.c judges
 * and binds descriptor 3; rules.c walks the permission files, whose names
 * names.c spells and of which parse.c reads one line.  None of them trusts anything that came from outside.
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

/* One question to the rules: may this caller bind address, port, protocol? */
struct question {
    int family;              /* AF_INET or AF_INET6, v4-mapped already made AF_INET */
    unsigned char addr[16];  /* network byte order */
    unsigned port;           /* host byte order, 1 to 65535 */
    bool udp;                /* else TCP (MPTCP counts as TCP) */
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
/* Does the line cover the question?  *fault: what is wrong with it, else 0. */
bool parse_line(char *line, size_t len, const struct question *question, enum pb_fault *fault);

#endif
