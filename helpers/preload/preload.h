/* SPDX-License-Identifier: MIT
 *
 * What the files of the preload library share:
 *   bind.c        the bind(2) that the program calls
 *   limits.c      the limits that the command passed in the environment
 *   spawn.c       starts one helper
 *   progress.c    counts the binds under way
 *   report.c      prints the lines of -v
 *   exec.c        keeps the library in the programs that this program executes
 *   privileges.c  remembers that the program has set no_new_privs
 * No libc is linked: the library loads into glibc and musl programs, and must work
 * where libc's own state cannot be trusted.
 */
#ifndef PYBIND_PRELOAD_H
#define PYBIND_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "../protocol.h"

#define SIGSET_LEN 8 /* the kernel's sigset_t */
#define SECOND_NS 1000000000

/* struct timespec as the kernel reads it in these system calls.  On some machines of
 * 32 bits, libc's struct timespec has 64 bits for the seconds. */
struct duration {
    long seconds, nanoseconds;
};

/* The port in host byte order.  Without optimisation ntohs(3) would be a call of libc. */
static inline unsigned port_of(const struct pb_request *request)
{
    const unsigned char *bytes = (const unsigned char *)&request->port;

    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* From the program's libc; NULL in a program without libc. */
extern int *__errno_location(void) __attribute__((weak));
extern void *dlsym(void *handle, const char *symbol) __attribute__((weak));
extern char **environ __attribute__((weak));

/* exec.c: libc's own function of that name, or NULL; for programs without dlsym(3). */
void *libc_symbol(const char *name);

/* The function that the program would have without this library, or NULL. */
static inline void *next_symbol(const char *name)
{
    return dlsym ? dlsym((void *)-1L, name) : libc_symbol(name); /* RTLD_NEXT, dlsym(3) */
}

/* limits.c */
extern bool limits_verbose;
unsigned limits_exclude(const struct pb_request *request, int protocol); /* enum pb_word, or 0 */
long limits_lost_at(char *const *env);
bool limits_restore(const char *entry, char *text, size_t size);

/* progress.c */
struct progress {
    unsigned epoch;
    int holds_copies; /* not bool: for one byte, some compilers call libatomic */
};
void progress_begin(struct progress *bind);
void progress_drop(struct progress *bind);
void progress_end(const struct progress *bind);
unsigned progress_mark(void);
bool progress_had_copies(unsigned mark, unsigned own);
void progress_stop(void);
void progress_go_on(void);

/* spawn.c */
enum spawn_result { SPAWN_ANSWERED, SPAWN_VANISHED, SPAWN_FAILED };
struct outcome {
    enum spawn_result result;
    struct pb_reply reply; /* of SPAWN_ANSWERED */
    int error;             /* errno of the system call that failed, else 0 */
    int signal;            /* signal that ended the helper or the intermediate, else 0 */
    bool started;          /* the failure is the helper's execve(2), or came later */
    bool no_new_privs;     /* the process has set no_new_privs: no helper was started */
};
void spawn_helper(int fd, const struct pb_request *request, struct outcome *outcome);
long spawn_apart(void (*fn)(void *), void *arg);

/* privileges.c */
bool privileges_given_up(void);

/* report.c: prints nothing without -v */
void report_word(const struct pb_request *request, int protocol, unsigned word);
void report_outcome(const struct pb_request *request, int protocol, const struct outcome *outcome);
void report_look(void);

/* memory.c: the compiler may insert calls of these. */
void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);

#endif
