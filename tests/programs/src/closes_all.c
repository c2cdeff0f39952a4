/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A daemon that first closes every descriptor and then binds, so that its socket has
 * the number 0.  Then it binds sockets with other numbers, among them those that the
 * helper uses, and with the neighbouring numbers in use.
 */
#include "common.h"

#include <fcntl.h>
#include <sys/syscall.h>

static void bind_at(int number, int neighbours)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    REQUIRE(fd >= 0);
    if (fd != number) {
        REQUIRE(dup2(fd, number) == number);
        close(fd);
    }
    for (int i = 0; neighbours && i < 10; i++)
        if (i != number)
            open("/dev/null", O_RDWR);
    must_bind(number, 1);
    REQUIRE(listen(number, 5) == 0);
    closefrom(0);
}

int main(int argc, char **argv)
{
    static const int numbers[] = {0, 1, 2, 3, 4, 5, 100, 1023};

    if (argc > 1 && strcmp(argv[1], "closefrom") == 0)
        closefrom(0);
    else if (argc > 1 && strcmp(argv[1], "close_range") == 0)
        syscall(SYS_close_range, 0u, ~0u, 0u);
    else
        for (int fd = 0; fd < 1024; fd++)
            close(fd);
    bind_and_close(1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        bind_at(numbers[i], 0);
        bind_at(numbers[i], 1);
    }
    return 0;
}
