/* SPDX-License-Identifier: MIT
 *
 * System calls without libc.  The library runs inside glibc and musl programs
 * alike, in signal handlers and in children that share their parent's memory:
 * libc's wrappers would touch errno, cancellation and locks.
 *
 * raw(nr, ...): a system call; returns its result or a negative errno.
 *
 * vfork_call(): clone(2) with CLONE_VM|CLONE_VFORK on the caller's own stack.  The
 * child calls fn(arg), which must not return.  With CLONE_PARENT_SETTID, *pid has
 * the child's id before the child runs.  It is in assembly, because parent and child
 * share one stack frame and C code must not leave a frame twice.  The child's stack
 * starts below the red zone.
 */
#ifndef PYBIND_ARCH_H
#define PYBIND_ARCH_H

#include <sys/syscall.h>

#if defined(__x86_64__) && !defined(__ILP32__)

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

static inline long vfork_call(long flags, int *pid, void (*fn)(void *), void *arg)
{
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register void (*rfn)(void *) __asm__("r12") = fn;
    register void *rarg __asm__("r13") = arg;
    long ret;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "sub $128, %%rsp\n\t"
                     "and $-16, %%rsp\n\t"
                     "mov %[arg], %%rdi\n\t"
                     "call *%[fn]\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(ret)
                     : "a"((long)SYS_clone), "D"(flags), "S"(0L), "d"(pid), "r"(r10), "r"(r8),
                       [fn] "r"(rfn), [arg] "r"(rarg)
                     : "rcx", "r11", "memory", "cc");
    return ret;
}

#elif defined(__i386__)

/* The sixth argument goes in ebp.  ebp may be the frame pointer, so it holds the
 * argument only during the call. */
static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
    long ret;

    __asm__ volatile("pushl %[sixth]\n\t"
                     "pushl %%ebp\n\t"
                     "movl 4(%%esp), %%ebp\n\t"
                     "int $0x80\n\t"
                     "popl %%ebp\n\t"
                     "addl $4, %%esp"
                     : "=a"(ret)
                     : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [sixth] "g"(f)
                     : "memory", "cc");
    return ret;
}

/* Without CLONE_SETTLS and CLONE_CHILD_*TID the kernel reads neither esi nor edi. */
static inline long vfork_call(long flags, int *pid, void (*fn)(void *), void *arg)
{
    long ret;

    __asm__ volatile("int $0x80\n\t"
                     "test %%eax, %%eax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "and $-16, %%esp\n\t"
                     "sub $12, %%esp\n\t"
                     "push %%edi\n\t"
                     "call *%%esi\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(ret)
                     : "a"((long)SYS_clone), "b"(flags), "c"(0L), "d"(pid), "S"(fn), "D"(arg)
                     : "memory", "cc");
    return ret;
}

#elif defined(__aarch64__)

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;

    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}

static inline long vfork_call(long flags, int *pid, void (*fn)(void *), void *arg)
{
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = flags;
    register long x1 __asm__("x1") = 0;
    register int *x2 __asm__("x2") = pid;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    register void (*rfn)(void *) __asm__("x20") = fn;
    register void *rarg __asm__("x21") = arg;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, %[arg]\n\t"
                     "blr %[fn]\n\t"
                     "brk #1\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), [fn] "r"(rfn),
                       [arg] "r"(rarg)
                     : "memory", "cc");
    return x0;
}

#elif defined(__riscv) && __riscv_xlen == 64

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long a7 __asm__("a7") = nr;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e;
    register long a5 __asm__("a5") = f;

    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
                     : "memory");
    return a0;
}

static inline long vfork_call(long flags, int *pid, void (*fn)(void *), void *arg)
{
    register long a7 __asm__("a7") = SYS_clone;
    register long a0 __asm__("a0") = flags;
    register long a1 __asm__("a1") = 0;
    register int *a2 __asm__("a2") = pid;
    register long a3 __asm__("a3") = 0;
    register long a4 __asm__("a4") = 0;
    register void (*rfn)(void *) __asm__("s2") = fn;
    register void *rarg __asm__("s3") = arg;

    __asm__ volatile("ecall\n\t"
                     "bnez a0, 1f\n\t"
                     "mv a0, %[arg]\n\t"
                     "jalr %[fn]\n\t"
                     "ebreak\n"
                     "1:"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), [fn] "r"(rfn),
                       [arg] "r"(rarg)
                     : "memory");
    return a0;
}

#else
#error "no system call convention for this machine: add it to helpers/preload/arch.h"
#endif

#define raw(nr, ...) raw_args(nr, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define raw_args(nr, a, b, c, d, e, f, ...) \
    raw6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
