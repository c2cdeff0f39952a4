/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * world FILE [ARG]...: writes to FILE everything that a program can find out about
 * its start, a line each.  It collects everything before it opens FILE, and does not
 * use descriptors 0 to 2.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char text[4 << 20];
static size_t used;

static void add(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    used += vsnprintf(text + used, sizeof text - used, format, args);
    va_end(args);
    if (used >= sizeof text)
        abort();
}

/* Prints bytes outside of printable ASCII, and the backslash, as \xHH. */
static void add_bytes(const char *name, const char *bytes)
{
    add("%s ", name);
    for (; *bytes; bytes++)
        add(*bytes > ' ' && *bytes < 127 && *bytes != '\\' ? "%c" : "\\x%02x",
            (unsigned char)*bytes);
    add("\n");
}

static void add_descriptor(int fd)
{
    char path[64], target[4096] = "";
    struct stat st;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fstat(fd, &st) != 0 || readlink(path, target, sizeof target - 1) < 0)
        return;
    add("fd %d flags=%x status=%o offset=%ld %s\n", fd, fcntl(fd, F_GETFD), fcntl(fd, F_GETFL),
        (long)lseek(fd, 0, SEEK_CUR), target);
}

static void add_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!dir)
        abort();
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
            add_descriptor(atoi(entry->d_name));
    closedir(dir);
}

/* The fields of /proc/self/status that exec inherits: ids, signals, privileges, CPUs. */
static void add_status(void)
{
    static const char *const kept[] = {
        "Name:", "Umask:", "Tgid:", "PPid:", "TracerPid:", "Uid:", "Gid:", "Groups:", "Threads:",
        "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:", "CapInh:", "CapPrm:", "CapEff:",
        "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "Cpus_allowed:", "Mems_allowed:"};
    char line[4096];
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (strncmp(line, kept[i], strlen(kept[i])) == 0)
                add("%s", line);
    if (file)
        fclose(file);
}

static void add_flags_of_ignored_signals(void)
{
    struct sigaction action;

    for (int sig = 1; sig < NSIG; sig++)
        if (sigaction(sig, NULL, &action) == 0)
            add("signal %d %s flags=%x\n", sig,
                action.sa_handler == SIG_IGN   ? "ignored"
                : action.sa_handler == SIG_DFL ? "default"
                                               : "caught",
                action.sa_flags);
}

static void add_process(void)
{
    char cwd[4096] = "", exe[4096] = "";
    struct itimerval timer = {0};
    struct rlimit limit;
    int subreaper = -1, death_signal = -1;

    add("pgid %d sid %d\n", getpgrp(), getsid(0));
    add("cwd %s\n", getcwd(cwd, sizeof cwd));
    if (readlink("/proc/self/exe", exe, sizeof exe - 1) > 0)
        add("exe %s\n", exe);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (getrlimit(i, &limit) == 0)
            add("rlimit %d %lx %lx\n", i, (long)limit.rlim_cur, (long)limit.rlim_max);
    errno = 0;
    add("nice %d policy %d\n", getpriority(PRIO_PROCESS, 0), sched_getscheduler(0));
    getitimer(ITIMER_REAL, &timer);
    add("timer %s\n", timer.it_value.tv_sec || timer.it_value.tv_usec ? "armed" : "off");
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    prctl(PR_GET_PDEATHSIG, &death_signal);
    add("subreaper %d death-signal %d dumpable %d keepcaps %d securebits %d slack %d\n", subreaper,
        death_signal, prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS),
        prctl(PR_GET_TIMERSLACK));
    add("secure %lu\n", getauxval(AT_SECURE));
    add("children %s\n", waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? "none" : "some");
}

int main(int argc, char **argv)
{
    add_descriptors();
    add_status();
    add_flags_of_ignored_signals();
    add_process();
    for (int i = 0; i < argc; i++)
        add_bytes("argv", argv[i]);
    for (char **entry = environ; *entry; entry++)
        add_bytes("environ", *entry);
    int fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return write(fd, text, used) == (ssize_t)used ? 0 : 9;
}
