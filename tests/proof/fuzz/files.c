/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The permission files of the input's kernel, and their meaning by pybind(5).
 */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_FD 100
#define RULES_FD 101

/* Aborts if the helper looks at a file after the rules have refused. */
static void look(void)
{
    if (world.unsafe || world.binds)
        abort();
}

/* Outcomes 1 to 4 of both calls: the file or folder is not safely root's. */
static void spoil(struct stat *st, unsigned what, mode_t other_kind)
{
    if (what == 1)
        st->st_mode = other_kind;
    else if (what == 2)
        st->st_mode |= S_IWGRP;
    else if (what == 3)
        st->st_mode |= S_IWOTH;
    else if (what == 4)
        st->st_uid = 1000;
}

WRAP(int, fstatat, int dir, const char *path, struct stat *st, int flags)
{
    bool below = dir == CONFIG_FD, flag_file = below && strchr(path, '/');
    unsigned what = world_next() % 16;

    look();
    if (!(flags & AT_SYMLINK_NOFOLLOW))
        abort();
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFDIR | 0755;
    if (flag_file) {
        st->st_mode = S_IFREG | 0777;
        st->st_uid = 1000; /* any owner is allowed */
        world.flag_open = what == 1 || what == 2;
        if (what == 3)
            st->st_mode = S_IFLNK | 0777;
        world.unsafe = what == 3 || what == 4;
        return what == 4 ? world_fail(EIO) : what == 0 || what > 4 ? world_fail(ENOENT) : 0;
    }
    spoil(st, what, S_IFLNK | 0777);
    world.unsafe = (what >= 1 && what <= 5) || (what == 6 && !below);
    return what == 5 ? world_fail(EACCES) : what == 6 ? world_fail(ENOENT) : 0;
}

WRAP(int, faccessat, int dir, const char *path, int mode, int flags)
{
    unsigned what = world_next() % 4;

    look();
    if (dir != CONFIG_FD || mode != X_OK || flags || !world.flag_open)
        abort();
    if (strncmp(path, "byport/", 7) != 0 && strncmp(path, "byaddr/", 7) != 0)
        abort();
    world.flag_open = false;
    if (what < 2)
        world.grants++;
    else
        world.unsafe = true;
    return what < 2 ? 0 : world_fail(what == 2 ? EACCES : ETXTBSY);
}

WRAP(int, open, const char *path, int flags, ...)
{
    /* Before it refuses an unsafe path, the helper opens the path once more. */
    if (strcmp(path, CONFIG_DIR) != 0 || !(flags & O_PATH) || !(flags & O_NOFOLLOW))
        abort();
    if (world_next() < 250)
        return CONFIG_FD;
    world.unsafe = true;
    return world_fail(EMFILE);
}

WRAP(int, openat, int dir, const char *path, int flags, ...)
{
    unsigned what = world_next() % 8;

    look();
    if (dir != CONFIG_FD || (flags & O_ACCMODE) != O_RDONLY || !(flags & O_NOFOLLOW) ||
        !(flags & O_NONBLOCK) || /* the helper would wait for a FIFO */
        (strncmp(path, "byuser/", 7) != 0 && strncmp(path, "bygroup/", 8) != 0))
        abort();
    if (what == 1 || what == 2) {
        world.rules_open = true;
        world.rules_len = 0;
        world.rules_endless = false;
        return RULES_FD;
    }
    world.unsafe = what >= 3 && what <= 5;
    return world_fail(what == 3 ? EACCES : what == 4 ? ELOOP : what == 5 ? EMFILE : ENOENT);
}

WRAP(int, fstat, int fd, struct stat *st)
{
    unsigned what = world_next() % 16;

    look();
    if (fd != RULES_FD)
        abort();
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFREG | 0644;
    spoil(st, what, S_IFIFO | 0644);
    world.unsafe = what >= 1 && what <= 5;
    return what == 5 ? world_fail(EIO) : 0;
}

/* The file's bytes are the input's next ones, in chunks as long as the first
 * byte of each says; an empty chunk is the end. */
WRAP(ssize_t, read, int fd, void *data, size_t size)
{
    unsigned what = world_next();
    size_t len = what;

    look();
    if (fd != RULES_FD || !world.rules_open)
        abort();
    if (what == 255) {
        world.rules_endless = true; /* the file may be longer than the helper's limit */
        memset(data, '\n', size);
        return (ssize_t)size;
    }
    if (what == 254) {
        world.unsafe = true;
        return world_fail(EIO);
    }
    len = len < size ? len : size;
    len = len < (size_t)(world.end - world.at) ? len : (size_t)(world.end - world.at);
    if (world.rules_len + len > sizeof world.rules)
        len = sizeof world.rules - world.rules_len;
    memcpy(data, world.at, len);
    memcpy(world.rules + world.rules_len, world.at, len);
    world.at += len;
    world.rules_len += len;
    return (ssize_t)len;
}

/* At its close a rule file has been read completely, so the oracle judges it here. */
WRAP(int, close, int fd)
{
    struct pb_request request;

    if (fd != RULES_FD || !world.rules_open)
        abort();
    world.rules_open = false;
    if (world.unsafe || world.rules_endless) {
        world.unsafe = true;
        return world_fail(EIO); /* an error of close(2) must not change the answer */
    }
    memcpy(&request, world.message, sizeof request);
    static const unsigned char zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool is_mapped = request.family == AF_INET6 && memcmp(request.addr, mapped, 12) == 0;
    bool half = request.family == AF_INET6 && memcmp(request.addr, zero, 16) == 0 &&
                world.grants == 1;
    int protocol = request.op == PB_OP_BIND ? world.protocol : request.protocol;
    struct oracle_question question = {
        .v6 = request.family == AF_INET6 && !is_mapped && !half,
        .udp = protocol == IPPROTO_UDP,
        .port = ntohs(request.port),
        .address = is_mapped ? request.addr + 12 : request.addr,
    };
    long line = oracle_file(world.rules, world.rules_len, &question);
    if (line < 0)
        world.unsafe = true;
    else if (line > 0)
        world.grants++;
    return 0;
}
