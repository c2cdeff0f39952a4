/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * faulty MOUNTPOINT OPERATION PATH ERRNO: a file system (libfuse 3) that looks like
 * /etc/pybind with byport/80, and with rule files that grant port 80 to every user and
 * group.  OPERATION (getattr, access, open, read) on PATH fails with ERRNO.  With ERRNO
 * 0 the operation prints a line and hangs, until a byte on stdin ends the program.  If
 * PATH is below byuser, there is no byport/80.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *operation, *failing;
static int error;
static const char rule[] = "any,80\n";

static int fails(const char *name, const char *path)
{
    if (strcmp(name, operation) != 0 || strcmp(path, failing) != 0)
        return 0;
    char told;
    if (error == 0 && puts("waiting") >= 0 && fflush(stdout) == 0 && read(0, &told, 1) >= 0)
        _exit(1);
    return -error;
}

static int faulty_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
    static const char *const folders[] = {"/", "/byport", "/byaddr", "/byuser", "/bygroup"};
    int result = fails("getattr", path), late = strncmp(failing, "/byuser/", 8) == 0;

    (void)info;
    memset(st, 0, sizeof *st);
    st->st_nlink = 1;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (strcmp(path, folders[i]) == 0)
            st->st_mode = S_IFDIR | 0755;
    if (strcmp(path, "/byport/80") == 0 && !late)
        st->st_mode = S_IFREG | 0755;
    if (strncmp(path, "/byuser/", 8) == 0 || strncmp(path, "/bygroup/", 9) == 0) {
        st->st_mode = S_IFREG | 0644;
        st->st_size = sizeof rule - 1;
    }
    return result ? result : st->st_mode ? 0 : -ENOENT;
}

static int faulty_access(const char *path, int mode)
{
    (void)mode;
    return fails("access", path);
}

static int faulty_open(const char *path, struct fuse_file_info *info)
{
    info->direct_io = 1;
    return fails("open", path);
}

static int faulty_read(const char *path, char *to, size_t size, off_t at,
                       struct fuse_file_info *info)
{
    int result = fails("read", path);
    size_t left = at < (off_t)sizeof rule - 1 ? sizeof rule - 1 - (size_t)at : 0;

    (void)info;
    if (result)
        return result;
    size = size < left ? size : left;
    memcpy(to, rule + at, size);
    return (int)size;
}

static void *faulty_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    (void)conn;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations operations = {
        .init = faulty_init,
        .getattr = faulty_getattr,
        .access = faulty_access,
        .open = faulty_open,
        .read = faulty_read,
    };
    char *words[] = {argv[0], "-f", "-o", "allow_other,dev,suid", argv[1], NULL};

    if (argc != 5)
        return 2;
    operation = argv[2];
    failing = argv[3];
    error = atoi(argv[4]);
    return fuse_main(5, words, &operations, NULL);
}
