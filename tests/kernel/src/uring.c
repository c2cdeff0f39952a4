// SPDX-License-Identifier: GPL-3.0-or-later
// uring HOW PORT [UID]: binds 127.0.0.1:PORT by IORING_OP_BIND; prints the errno.
// HOW: plain; personality: with credentials that root registered before the process
// became UID; sqpoll: by the kernel's thread of a ring that root made before that.
#define _GNU_SOURCE // setresuid(2)
#include <errno.h>
#include <grp.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OP_BIND 56 /* IORING_OP_BIND, Linux 6.11 */

int main(int argc, char **argv)
{
    struct io_uring_params p = {0};
    int sqpoll = !strcmp(argv[1], "sqpoll"), personality = !strcmp(argv[1], "personality");
    p.flags = sqpoll ? IORING_SETUP_SQPOLL : 0;
    p.sq_thread_idle = 10000;
    int ring = syscall(SYS_io_uring_setup, 4, &p);
    if (ring < 0)
        return perror("io_uring_setup"), 3;
    size_t size = p.sq_off.array + p.sq_entries * 4, cq = p.cq_off.cqes + p.cq_entries * 16;
    size = size > cq ? size : cq;
    char *rings = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *sqe = mmap(0, p.sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE, MAP_SHARED,
                                    ring, IORING_OFF_SQES);
    if (rings == MAP_FAILED || sqe == MAP_FAILED)
        return perror("mmap"), 3;
    int who = personality ? syscall(SYS_io_uring_register, ring, IORING_REGISTER_PERSONALITY, 0, 0) : 0;
    if (argc > 3) {
        uid_t uid = atoi(argv[3]);
        if (setgroups(0, 0) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
            return perror("setresuid"), 3;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = OP_BIND;
    sqe->fd = fd;
    sqe->addr = (uintptr_t)&to;
    sqe->addr2 = sizeof to;
    sqe->personality = who;
    *(unsigned *)(rings + p.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(rings + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    unsigned flags = IORING_ENTER_GETEVENTS | (sqpoll ? IORING_ENTER_SQ_WAKEUP : 0);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, flags, 0, 0) < 0)
        return perror("io_uring_enter"), 3;
    struct io_uring_cqe *cqe = (void *)(rings + p.cq_off.cqes);
    printf("%d\n", -cqe->res);
    return 0;
}
