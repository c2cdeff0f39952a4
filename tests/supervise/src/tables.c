/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * tables HOW: binds a socket that is not in the descriptor table of the process's
 * first thread.
 *   leaderless  the first thread has ended
 *   unshared    the thread has its own table, with another socket under the same
 *               number
 *   vfork       a child binds that shares the memory, but not the descriptors
 */
#include "common.h"

#include <sched.h>

static int shared_fd;

static void *bind_late(void *arg)
{
    (void)arg;
    while (1) { /* waits until the first thread is a zombie */
        char state = 0, line[512];
        FILE *file;
        snprintf(line, sizeof line, "/proc/self/task/%d/stat", getpid());
        file = fopen(line, "r");
        REQUIRE(file && fscanf(file, "%*d %*s %c", &state) == 1);
        fclose(file);
        if (state == 'Z')
            break;
    }
    bind_and_close(1);
    printf("bound\n");
    exit(0);
}

static void *bind_in_own_table(void *arg)
{
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    int other = socket(AF_INET, SOCK_STREAM, 0);

    REQUIRE(unshare(CLONE_FILES) == 0);
    REQUIRE(dup2(other, shared_fd) == shared_fd);
    must_bind(shared_fd, 1);
    REQUIRE(getsockname(other, (struct sockaddr *)&name, &len) == 0);
    REQUIRE(ntohs(name.sin_port) == 80);
    return arg;
}

static void unshared(void)
{
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    pthread_t thread;

    shared_fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(pthread_create(&thread, NULL, bind_in_own_table, NULL) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    REQUIRE(getsockname(shared_fd, (struct sockaddr *)&name, &len) == 0);
    REQUIRE(name.sin_port == 0);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    pthread_t thread;
    int status;

    if (strcmp(how, "leaderless") == 0) {
        REQUIRE(pthread_create(&thread, NULL, bind_late, NULL) == 0);
        pthread_exit(NULL);
    } else if (strcmp(how, "unshared") == 0) {
        unshared();
    } else {
        pid_t pid = vfork();
        if (pid == 0) {
            bind_and_close(1);
            _exit(0);
        }
        REQUIRE(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return puts("bound") < 0;
}
