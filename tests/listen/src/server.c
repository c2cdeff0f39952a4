/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Serves connections on an inherited socket until it is killed.  The answer is the
 * effective uid.  With -DLIBSYSTEMD systemd's own library finds the socket, else
 * the first argument has its number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef LIBSYSTEMD
#include <systemd/sd-daemon.h>

static int given_socket(char **argv)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);

    if (count != 1 || strcmp(names[0], argv[1]) != 0) {
        fprintf(stderr, "%d sockets, name %s\n", count, count > 0 ? names[0] : "");
        exit(1);
    }
    if (sd_is_socket_inet(SD_LISTEN_FDS_START, AF_INET6, SOCK_STREAM, 1, 80) != 1) {
        fprintf(stderr, "not a listening socket of port 80\n");
        exit(1);
    }
    return SD_LISTEN_FDS_START;
}
#else
static int given_socket(char **argv)
{
    return atoi(argv[1]);
}
#endif

int main(int argc, char **argv)
{
    char answer[128], request[4096];
    int listening = given_socket(argv);

    (void)argc;
    for (;;) {
        int fd = accept(listening, NULL, NULL);

        if (fd < 0) {
            perror("accept");
            return 1;
        }
        if (read(fd, request, sizeof request) > 0) {
            int length = snprintf(answer, sizeof answer,
                                  "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuid %d",
                                  (int)geteuid());
            if (write(fd, answer, (size_t)length) < 0)
                perror("write");
        }
        close(fd);
    }
}
