/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * descriptors COUNT: the descriptor table is the same after COUNT binds and as
 * many refused ones, and a program that has used up all numbers can bind.
 */
#include "common.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>

static void list(char *out, size_t size)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    size_t used = 0;

    REQUIRE(dir);
    while ((entry = readdir(dir))) {
        char path[300], target[300] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, target, sizeof target - 1) > 0 && !strstr(target, "/fd"))
            used += snprintf(out + used, size - used, "%s=%s ", entry->d_name, target);
        REQUIRE(used < size);
    }
    closedir(dir);
}

static void refused(void)
{
    struct sockaddr_in addr = loopback(1, 81);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    REQUIRE(bind(fd, (struct sockaddr *)&addr, sizeof addr) == -1 && errno == EACCES);
    close(fd);
}

int main(int argc, char **argv)
{
    static char before[8192], after[8192];
    int count = argc > 1 ? atoi(argv[1]) : 1, fd;
    struct rlimit files = {64, 64};

    list(before, sizeof before);
    for (int i = 0; i < count; i++) {
        bind_and_close(1);
        refused();
    }
    list(after, sizeof after);
    REQUIRE(strcmp(before, after) == 0);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    while (open("/dev/null", O_RDONLY) >= 0)
        ;
    REQUIRE(errno == EMFILE);
    must_bind(fd, 1);
    return 0;
}
