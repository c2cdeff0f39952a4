/* SPDX-License-Identifier: MIT
 *
 * bin/pybind, and bin/authbind when it is built with another NAME: notes what the
 * start of CPython would lose, then executes Python.
 *
 * The start of CPython ignores SIGPIPE and SIGXFSZ, and fails when descriptor 0 is a
 * directory.  Files that Python opens would take closed descriptors 0 to 2.  The
 * program must find all of these as the caller left them.  So the starter passes
 * notes as the first argument, which pybind/launch.py reads: "FFFSS:FD:FD:FD" with
 *   FFF  descriptors 0, 1, 2: o open, c closed, d a directory
 *   SS   SIGPIPE, SIGXFSZ: i ignored, d not ignored
 *   FD   for each of 0, 1, 2: the descriptor that keeps the directory, or -1
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_FD_MIN 10 /* out of the way of what Python opens */

static char descriptor_state(int fd, int *kept_fd)
{
    struct stat st;
    char state = 'c';

    if (fstat(fd, &st) == 0) {
        if (!S_ISDIR(st.st_mode))
            return 'o';
        *kept_fd = fcntl(fd, F_DUPFD, KEPT_FD_MIN);
        close(fd);
        state = *kept_fd >= 0 ? 'd' : 'c';
    }
    if (open("/dev/null", O_RDWR) != fd) /* the lowest free number */
        return 'o';
    return state;
}

static char signal_state(int sig)
{
    struct sigaction action;

    return sigaction(sig, NULL, &action) == 0 && action.sa_handler == SIG_IGN ? 'i' : 'd';
}

int main(int argc, char **argv)
{
    static char *const own[] = {PYTHON, "-I", "-S", "-X", "utf8", START_PY};
    enum { OWN = sizeof own / sizeof *own };
    char *args[OWN + 1 + argc + 1], notes[64];
    int kept[3] = {-1, -1, -1}, count = 0;
    char fds[4] = "";

    for (int fd = 0; fd < 3; fd++)
        fds[fd] = descriptor_state(fd, &kept[fd]);
    snprintf(notes, sizeof notes, "%s%c%c:%d:%d:%d", fds, signal_state(SIGPIPE),
             signal_state(SIGXFSZ), kept[0], kept[1], kept[2]);
    while (count < OWN) {
        args[count] = own[count];
        count++;
    }
    args[count++] = notes;
    for (int i = 1; i < argc; i++)
        args[count++] = argv[i];
    args[count] = NULL;
    execv(PYTHON, args);
    perror(NAME ": cannot start " PYTHON);
    return FAILED;
}
