/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * world launch [OPTION VALUE]... -- PROGRAM [ARG]...: sets up this process as no shell
 * and no Python can, and executes PROGRAM.
 *   -e ENTRY   the environment is empty but for these, as they stand
 *   -i SIGNAL  ignored        -d SIGNAL  default        -b SIGNAL  blocked
 *   -r SIGNAL  raised (blocked first, it stays pending)
 *   -c FD      closed         -D FD      the directory /usr
 *   -n FD      opened on /dev/null, close-on-exec off
 *   -a SECONDS alarm          -t 0       the terminal on 0 becomes ours
 *
 * world report FILE [ARG]...: writes to FILE everything that a program can find out about
 * its start, a line each.  It collects everything before it opens FILE, and does not
 * use descriptors 0 to 2.
 *
 * world terminal: prints what this program knows of its terminal, then waits for an
 * interrupt.
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
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { ENTRIES_MAX = 64 };

extern char **environ;

static void block(int sig)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void open_at(int wanted, const char *path, int flags)
{
    int fd = open(path, flags);

    if (fd != wanted) {
        dup2(fd, wanted);
        close(fd);
    }
}

static int launch(int argc, char **argv)
{
    static char *entries[ENTRIES_MAX + 1];
    int count = 0, replace = 0, i;

    for (i = 2; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        char *value = argv[i + 1];
        int number = atoi(value);
        switch (argv[i][1]) {
        case 'e':
            replace = 1;
            if (count < ENTRIES_MAX && strcmp(value, "-") != 0)
                entries[count++] = value;
            break;
        case 'i':
            signal(number, SIG_IGN);
            break;
        case 'd':
            signal(number, SIG_DFL);
            break;
        case 'b':
            block(number);
            break;
        case 'r':
            raise(number);
            break;
        case 'c':
            close(number);
            break;
        case 'D':
            open_at(number, "/usr", O_RDONLY | O_DIRECTORY);
            break;
        case 'n':
            open_at(number, "/dev/null", O_RDWR);
            break;
        case 'a':
            alarm((unsigned)number);
            break;
        case 't':
            if (ioctl(0, TIOCSCTTY, 0) != 0)
                return 98;
            break;
        default:
            return 99;
        }
    }
    if (replace)
        environ = entries;
    execvp(argv[i + 1], argv + i + 1);
    perror("world launch");
    return 97;
}

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

static int report(int argc, char **argv)
{
    add_descriptors();
    add_status();
    add_flags_of_ignored_signals();
    add_process();
    for (int i = 0; i < argc; i++)
        add_bytes("argv", argv[i]);
    for (char **entry = environ; *entry; entry++)
        add_bytes("environ", *entry);
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return write(fd, text, used) == (ssize_t)used ? 0 : 9;
}

static int terminal(void)
{
    struct termios t;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    char target[256] = "";

    if (tty < 0 || tcgetattr(0, &t) != 0 || readlink("/proc/self/fd/0", target, 255) < 0)
        return 1;
    printf("pid %d\n", getpid());
    printf("tty %s %d%d%d\n", target, isatty(0), isatty(1), isatty(2));
    printf("foreground %d leader %d\n", tcgetpgrp(tty) == getpgrp(), getsid(0) == getpid());
    printf("termios %x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    printf("ready\n");
    fflush(stdout);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "launch") == 0)
        return launch(argc, argv);
    if (argc > 2 && strcmp(what, "report") == 0)
        return report(argc, argv);
    if (strcmp(what, "terminal") == 0)
        return terminal();
    return 96;
}
