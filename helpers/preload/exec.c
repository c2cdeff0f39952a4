/* SPDX-License-Identifier: MIT
 *
 * The execve(2) that the program calls, in the forms that shells, env(1) and
 * language run times use.  These functions keep the library in the executed program
 * (limits.c), and leave no intermediate behind (progress.c).  They do not allocate,
 * lock or keep state: a child of vfork(2) runs them in its parent's memory.
 */
#include <errno.h>
#include <spawn.h>
#include <unistd.h>

#include "arch.h"
#include "preload.h"

#define ENTRIES_MAX 256 /* a larger environment is not changed: the stack may be small */
#define LIST_LEN_MAX 1024

typedef int exec_fn(const char *, char *const *, char *const *);
typedef int spawn_fn(pid_t *, const char *, const posix_spawn_file_actions_t *,
                     const posix_spawnattr_t *, char *const *, char *const *);

#define API __attribute__((visibility("default")))

/* Before 2.34 glibc had dlsym(3) in libdl, which not every program loads.  Every
 * libc.so of that time has these two functions for its own use. */
extern void *__libc_dlopen_mode(const char *name, int mode) __attribute__((weak));
extern void *__libc_dlsym(void *library, const char *name) __attribute__((weak));
#define FROM_LIBC_LAZY (int)0x80000001 /* __RTLD_DLOPEN | RTLD_LAZY */

void *libc_symbol(const char *name)
{
    void *libc = NULL;

    if (&__libc_dlopen_mode && &__libc_dlsym)
        libc = __libc_dlopen_mode("libc.so.6", FROM_LIBC_LAZY);
    return libc ? __libc_dlsym(libc, name) : NULL;
}

/* The functions of the next preload library, or libc's.  They are looked up when the
 * library is loaded, because dlsym(3) takes locks. */
static exec_fn *next_execve, *next_execvpe;
static spawn_fn *next_spawn, *next_spawnp;

__attribute__((constructor)) static void find_next(void)
{
    next_execve = (exec_fn *)next_symbol("execve");
    next_execvpe = (exec_fn *)next_symbol("execvpe");
    next_spawn = (spawn_fn *)next_symbol("posix_spawn");
    next_spawnp = (spawn_fn *)next_symbol("posix_spawnp");
}

static int fail(int error)
{
    if (&__errno_location)
        *__errno_location() = error;
    return -1;
}

/* One call of an exec or spawn function, without the environment. */
struct call {
    exec_fn *exec;
    spawn_fn *spawn;
    const char *path;
    char *const *argv;
    pid_t *pid;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *attributes;
};

static int call_next(const struct call *c, char *const *env)
{
    if (c->spawn)
        return c->spawn(c->pid, c->path, c->actions, c->attributes, c->argv, env);
    progress_stop();
    int result = c->exec ? c->exec(c->path, c->argv, env)
                         : fail((int)-raw(SYS_execve, c->path, c->argv, env));
    progress_go_on();
    return result;
}

/* Not inlined: most calls need none of this stack, and a signal handler may not have it. */
__attribute__((noinline)) static int call_restored(const struct call *c, char *const *env,
                                                   long lost)
{
    char *room[ENTRIES_MAX], text[LIST_LEN_MAX];
    size_t count = 0;

    while (env[count] && count < ENTRIES_MAX)
        count++;
    if (count == ENTRIES_MAX || !limits_restore(env[lost], text, sizeof text))
        return call_next(c, env);
    memcpy(room, env, (count + 1) * sizeof *room);
    room[lost] = text;
    return call_next(c, room);
}

static int call(const struct call *c, char *const *env)
{
    long lost = limits_lost_at(env);

    return lost < 0 ? call_next(c, env) : call_restored(c, env, lost);
}

API int execve(const char *path, char *const argv[], char *const env[])
{
    return call(&(struct call){.exec = next_execve, .path = path, .argv = argv}, env);
}

API int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

API int execvpe(const char *file, char *const argv[], char *const env[])
{
    if (!next_execvpe) /* before our constructor ran */
        find_next();
    return call(&(struct call){.exec = next_execvpe, .path = file, .argv = argv}, env);
}

API int execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

static int spawn(spawn_fn *const *next, struct call c, char *const *env)
{
    if (!*next)
        find_next();
    c.spawn = *next; /* never NULL: the caller's libc has posix_spawn(3) */
    return call(&c, env);
}

API int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                    const posix_spawnattr_t *attributes, char *const argv[], char *const env[])
{
    struct call c = {NULL, NULL, path, argv, pid, actions, attributes};

    return spawn(&next_spawn, c, env);
}

API int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                     const posix_spawnattr_t *attributes, char *const argv[], char *const env[])
{
    struct call c = {NULL, NULL, file, argv, pid, actions, attributes};

    return spawn(&next_spawnp, c, env);
}
