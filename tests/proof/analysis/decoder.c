/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * For Frama-C's Eva: main() of the helper, with any answers of the kernel.
 * Capabilities and rules are stubs that answer anything.  A message may have any
 * bytes, length and flags.
 */
#include <__fc_builtin.h>
#include <errno.h>
#include <unistd.h>

#include "../../../helpers/helper/helper.h"

#define SOME_BYTE ((unsigned char)Frama_C_interval(0, 255))

static void fill(void *to, size_t len)
{
    unsigned char *bytes = to;

    for (size_t i = 0; i < len; i++)
        bytes[i] = SOME_BYTE;
}

void caps_sanitise(void)
{
}

bool caps_confine(void)
{
    return Frama_C_interval(0, 1);
}

int caps_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    //@ assert len == sizeof(struct sockaddr_in) || len == sizeof(struct sockaddr_in6);
    //@ assert \initialized((char *)addr + (0 .. len - 1));
    return Frama_C_interval(0, 133);
}

void rules_judge(const struct pb_request *request, int protocol, struct answer *answer)
{
    fill(answer, sizeof *answer);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    fill(value, *len);
    *len = (socklen_t)Frama_C_interval(0, (int)*len);
    errno = Frama_C_interval(1, 133);
    return Frama_C_interval(-1, 0);
}

int socket(int domain, int type, int protocol)
{
    errno = Frama_C_interval(1, 133);
    return Frama_C_interval(-1, 1023);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    fill(msg->msg_iov->iov_base, msg->msg_iov->iov_len);
    msg->msg_flags = Frama_C_interval(0, 65535);
    return Frama_C_interval(-1, (int)msg->msg_iov->iov_len);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    //@ assert \valid_read((char *)data + (0 .. len - 1));
    //@ assert \initialized((char *)data + (0 .. len - 1));
    return (ssize_t)len;
}

uid_t getuid(void)
{
    return Frama_C_unsigned_int_interval(0, 4294967295u);
}

uid_t geteuid(void)
{
    return Frama_C_unsigned_int_interval(0, 4294967295u);
}

gid_t getgid(void)
{
    return Frama_C_unsigned_int_interval(0, 4294967295u);
}

gid_t getegid(void)
{
    return Frama_C_unsigned_int_interval(0, 4294967295u);
}
