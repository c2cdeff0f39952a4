/* SPDX-License-Identifier: MIT
 *
 * What the files of the preload library share: bind.c is what the program
 * calls, limits.c what the command told the library through the environment,
 * spawn.c starts one helper, progress.c counts those under way, report.c says
 * what -v asks for, exec.c keeps the library in the programs that this one
 * starts, privileges.c sees a program give up what a helper would gain.  No
 * libc is linked: the library loads into glibc and musl programs, and must
 * work where libc's own state cannot be trusted.
 */
#ifndef PYBIND_PRELOAD_H
#define PYBIND_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "../protocol.h"

#define SIGSET_LEN 8 /* the kernel's sigset_t */
#define SECOND_NS 1000000000

/* struct timespec as these system calls of every machine know it: libc's has 64
 * bits for the seconds on some with 32. */
struct duration {
    long seconds, nanoseconds;
};

/* In host byte order. ntohs(3) is a function of libc where nothing is optimised. */
static inline unsigned port_of(const struct pb_request *request)
{
    const unsigned char *bytes = (const unsigned char *)&request->port;

    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* From whichever libc the program has. */
extern int *__errno_location(void) __attribute__((weak)); /* absent where no libc is */
extern void *dlsym(void *handle, const char *symbol) __attribute__((weak));
extern char **environ __attribute__((weak));

/* exec.c: the C library's own function of that name, where there is no dlsym, or NULL. */
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
    int holds_copies; /* an int: for one of one byte some machines' compilers call libatomic */
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
    int signal;            /* which ended the helper or its parent, else 0 */
    bool started;          /* what failed is the helper's execve(2), or comes after it */
    bool no_new_privs;     /* so nothing was tried */
};
void spawn_helper(int fd, const struct pb_request *request, struct outcome *outcome);
long spawn_apart(void (*fn)(void *), void *arg);

/* privileges.c */
bool privileges_given_up(void);

/* report.c: only after -v */
void report_word(const struct pb_request *request, int protocol, unsigned word);
void report_outcome(const struct pb_request *request, int protocol, const struct outcome *outcome);
void report_look(void);

/* memory.c: the compiler may call these by itself. */
void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);

#endif
