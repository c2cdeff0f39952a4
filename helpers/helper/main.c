/* SPDX-License-Identifier: MIT
 *
 * pybind-helper: decides by the permission files whether its caller may bind
 * one address, binds one socket, exits.  The file carries CAP_NET_BIND_SERVICE,
 * and the helper is the only part of pybind that is trusted.  The caller chooses
 * the message, both descriptors, the environment, the limits and the working
 * directory: the helper takes all of them as hostile.  The helper reads no
 * environment, ignores argv, allocates nothing.  protocol.h has the contract.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"

static struct answer answer;

static _Noreturn void reply_and_exit(size_t len)
{
    answer.reply.magic = PB_MAGIC;
    answer.reply.version = PB_VERSION;
    if (answer.reply.reason != PB_REASON_GRANTED && answer.reply.error == 0)
        answer.reply.error = EACCES;
    /* Never wait for a reader: a caller that missed the reply asks getsockname(2). */
    send(PB_REPLY_FD, &answer, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    _exit(0);
}

static _Noreturn void refuse(enum pb_reason reason)
{
    answer.reply.reason = (uint16_t)reason;
    reply_and_exit(sizeof answer.reply);
}

/* A message that is not exactly one request binds nothing.  MSG_TRUNC marks a
 * message that is too long.  There is no buffer for passed descriptors: the kernel
 * drops them and sets MSG_CTRUNC (docs/hostile.md, 31 to 33, 44). */
static void receive(struct pb_request *request)
{
    struct iovec iov = {.iov_base = request, .iov_len = sizeof *request};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int domain = 0;
    socklen_t domain_len = sizeof domain;

    if (getsockopt(PB_REPLY_FD, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) != 0 ||
        domain != AF_UNIX)
        _exit(1);
    memset(request, 0, sizeof *request);
    ssize_t got = recvmsg(PB_REPLY_FD, &msg, 0);
    if (got < 8 || request->magic != PB_MAGIC || (msg.msg_flags & MSG_CTRUNC))
        refuse(PB_REASON_MALFORMED);
    if (request->version != PB_VERSION)
        refuse(PB_REASON_VERSION);
    if (got != sizeof *request || (msg.msg_flags & MSG_TRUNC) || request->zero != 0)
        refuse(PB_REASON_MALFORMED);
}

/* Puts the judgement of the permission files into `answer`.  Does not return when
 * the request is refused before they are asked. */
static void judge(const struct pb_request *request)
{
    static const unsigned char none[12];
    int protocol = request->protocol, cause = 0;
    bool binding = request->op == PB_OP_BIND;
    enum pb_reason reason = PB_REASON_GRANTED;

    if ((!binding && request->op != PB_OP_CHECK) || (binding && protocol != 0) ||
        (request->family != AF_INET && request->family != AF_INET6) ||
        (request->family == AF_INET && memcmp(request->addr + 4, none, sizeof none) != 0))
        refuse(PB_REASON_MALFORMED);
    if (binding)
        reason = socket_check(PB_SOCKET_FD, request->family, &protocol, &cause);
    if (!reason && protocol != IPPROTO_TCP && protocol != IPPROTO_UDP &&
        protocol != IPPROTO_MPTCP)
        reason = PB_REASON_SOCKET_KIND;
    answer.reply.cause = cause;
    if (reason != PB_REASON_GRANTED)
        refuse(reason);
    if (request->port == 0)
        refuse(PB_REASON_PORT_ZERO);
    /* A setuid program is half its caller and half its owner: the permission files
     * know no such user. */
    if (getuid() != geteuid() || getgid() != getegid())
        refuse(PB_REASON_IDS);
    rules_judge(request, protocol, &answer);
}

int main(void)
{
    struct pb_request request;

    answer.reply.reason = PB_REASON_MALFORMED; /* GRANTED is 0, so never the default */
    caps_sanitise();
    bool capable = caps_confine();
    answer.reply.flags = capable ? PB_FLAG_CAPABLE : 0;
    receive(&request);
    judge(&request);
    bool granted = answer.reply.reason == PB_REASON_GRANTED;
    if (granted && !capable)
        answer.reply.reason = PB_REASON_NO_CAPABILITY;
    else if (granted && request.op == PB_OP_BIND)
        socket_bind(PB_SOCKET_FD, &request, &answer.reply);
    reply_and_exit(request.op == PB_OP_CHECK ? sizeof answer : sizeof answer.reply);
}
