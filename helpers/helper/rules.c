/* SPDX-License-Identifier: MIT
 *
 * Asks the permission files in authbind's order (pybind(5)): byport, byaddr, then
 * byuser and bygroup.  The first file that grants or refuses ends the search.
 * Only after ENOENT does the helper ask the next file; every other error refuses.
 * The files are opened with the caller's rights: the helper has no other rights
 * over files.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper.h"

#define RULES_SIZE_MAX (1u << 20)
#define GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

struct walk {
    struct question question;
    struct answer *answer;
    int config_fd;
    bool v4_half;
};

/* names.c makes no name of PB_NAME_MAX bytes or more; the bound holds all the same. */
static void copy_name(char to[PB_NAME_MAX], const char *name)
{
    memset(to, 0, PB_NAME_MAX);
    memcpy(to, name, strnlen(name, PB_NAME_MAX - 1));
}

static void trace(struct walk *w, const char *name, enum pb_step_result result, uint32_t line)
{
    struct pb_trace *t = &w->answer->trace;

    if (t->count == PB_TRACE_MAX) {
        w->answer->reply.flags |= PB_FLAG_TRUNCATED;
        return;
    }
    struct pb_step *step = &t->steps[t->count++];
    *step = (struct pb_step){.result = (uint16_t)result, .v4_half = w->v4_half, .line = line};
    copy_name(step->name, name);
}

/* The only place that writes the verdict.  It sets every member, so that nothing
 * of an earlier verdict remains.  cause: the errno behind a refusal, or 0 where the
 * state of the file is the reason.  Returns true: no further file is asked. */
static bool decide(struct walk *w, const char *name, enum pb_reason reason, int cause,
                   uint32_t line, enum pb_fault fault)
{
    struct pb_reply *reply = &w->answer->reply;
    bool grants = reason == PB_REASON_GRANTED;

    copy_name(reply->name, name);
    reply->reason = (uint16_t)reason;
    reply->cause = cause;
    reply->line = line;
    reply->fault = (uint16_t)fault;
    reply->flags &= PB_FLAG_CAPABLE | PB_FLAG_TRUNCATED;
    reply->flags |= w->v4_half && !grants ? PB_FLAG_V4_HALF : 0;
    if (strchr(name, '/')) /* a file, not a folder */
        trace(w, name, grants ? PB_STEP_GRANTS : PB_STEP_REFUSES, line);
    return true;
}

static bool refuse(struct walk *w, const char *name, enum pb_reason reason, int cause)
{
    return decide(w, name, reason, cause, 0, PB_FAULT_NONE);
}

static bool safely_roots(const struct stat *st)
{
    return st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* This function and the steps below return true when they have decided, so that no
 * further file is asked.  may_lack: the folder may be absent. */
static bool directory_refuses(struct walk *w, int dir_fd, const char *path, const char *name,
                              bool may_lack)
{
    struct stat st;
    int error = fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
    enum pb_reason reason = error == ENOENT ? PB_REASON_CONFIG_MISSING : PB_REASON_CONFIG_ERROR;

    if (error == 0 ? S_ISDIR(st.st_mode) && safely_roots(&st) : error == ENOENT && may_lack)
        return false;
    return refuse(w, name, error == 0 ? PB_REASON_CONFIG_UNSAFE : reason, error);
}

/* Checks every folder from / down: a caller that can only chroot(2) must not be
 * able to show the helper an /etc of their own (docs/hostile.md, 25, 26).  Only
 * root can change the entries of a folder that has passed. */
static bool open_config(struct walk *w)
{
    static const char *const folders[] = {"byport", "byaddr", "byuser", "bygroup"};
    char path[] = CONFIG_DIR;
    bool refused = directory_refuses(w, AT_FDCWD, "/", "", false);

    for (char *end = path; !refused && end;) {
        end = strchr(end + 1, '/');
        if (end)
            *end = '\0';
        refused = directory_refuses(w, AT_FDCWD, path, "", false);
        if (end)
            *end = '/';
    }
    if (refused)
        return true;
    w->config_fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (w->config_fd < 0)
        return refuse(w, "", PB_REASON_CONFIG_ERROR, errno);
    for (size_t i = 0; !refused && i < sizeof folders / sizeof *folders; i++)
        refused = directory_refuses(w, w->config_fd, folders[i], folders[i], true);
    return refused;
}

/* A flag file grants when the caller may execute it, and refuses when it merely
 * exists.  As with authbind, anybody may own it; but it must be a regular file. */
static bool flag_step(struct walk *w, const char *name)
{
    struct stat st;

    if (fstatat(w->config_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            return refuse(w, name, PB_REASON_FLAG_ERROR, errno);
        trace(w, name, PB_STEP_ABSENT, 0);
        return false;
    }
    if (!S_ISREG(st.st_mode))
        return refuse(w, name, PB_REASON_FLAG_KIND, 0);
    if (faccessat(w->config_fd, name, X_OK, 0) == 0)
        return decide(w, name, PB_REASON_GRANTED, 0, 0, PB_FAULT_NONE);
    return refuse(w, name, errno == EACCES ? PB_REASON_FLAG_DENIED : PB_REASON_FLAG_ERROR, errno);
}

/* Protocols such as rsh and NFS take a source port of 512 to 1023 as a proof of
 * root.  These ports need a file whose name says with '!' that it means them. */
static void start_name(struct name *n, const struct question *q, const char *folder)
{
    n->len = 0;
    name_put(n, folder);
    name_put(n, q->port >= 512 && q->port <= 1023 ? "/!" : "/");
}

/* Asks the flag files, in this order:
 *   byport/PORT,PROTOCOL  byport/PORT
 *   byaddr/ADDRESS,PORT,PROTOCOL  byaddr/ADDRESS:PORT (IPv4 only)  byaddr/ADDRESS,PORT
 * An IPv6 address has two spellings: the compressed one is asked first. */
static bool flag_files(struct walk *w)
{
    const struct question *q = &w->question;
    bool v4 = q->family == AF_INET, decided = false;

    for (int form = 0; !decided && form < 6; form++) {
        bool byaddr = form >= 2, first = form % 2 == 0;
        bool protocol = byaddr ? form < 4 : first;
        struct name n;
        if (byaddr && v4 && protocol && first)
            continue;
        start_name(&n, q, byaddr ? "byaddr" : "byport");
        if (byaddr) {
            name_put_address(&n, q, first);
            name_put(&n, v4 && first ? ":" : ",");
        }
        name_put_number(&n, q->port, 10);
        name_put(&n, !protocol ? "" : q->udp ? ",udp" : ",tcp");
        decided = flag_step(w, n.text);
    }
    return decided;
}

/* Reads the whole file before any line counts: a typo must not leave half of a
 * file in force. */
static bool judge_lines(struct walk *w, const char *name, char *text, size_t len)
{
    enum pb_fault fault = PB_FAULT_NONE;
    uint32_t match = 0, number = 0;

    for (char *line = text, *end; line < text + len; line = end + 1) {
        end = memchr(line, '\n', len - (size_t)(line - text));
        end = end ? end : text + len;
        number++;
        bool matches = parse_line(line, (size_t)(end - line), &w->question, &fault);
        if (fault)
            return decide(w, name, PB_REASON_RULES_BROKEN, 0, number, fault);
        if (matches && match == 0)
            match = number;
    }
    if (match)
        return decide(w, name, PB_REASON_GRANTED, 0, match, PB_FAULT_NONE);
    trace(w, name, PB_STEP_NO_MATCH, 0);
    return false;
}

static bool rules_step(struct walk *w, const char *folder, unsigned id)
{
    static char text[RULES_SIZE_MAX + 1]; /* one more, to tell the limit from the end */
    struct stat st;
    struct name n;
    size_t len = 0;
    ssize_t got;

    start_name(&n, &w->question, folder);
    name_put_number(&n, id, 10);
    int fd = openat(w->config_fd, n.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        trace(w, n.text, PB_STEP_ABSENT, 0);
        return false;
    }
    if (fd < 0 && errno != ELOOP) /* ELOOP: a symbolic link */
        return refuse(w, n.text,
                      errno == EACCES ? PB_REASON_RULES_UNREADABLE : PB_REASON_RULES_ERROR, errno);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !safely_roots(&st))
        return refuse(w, n.text, PB_REASON_RULES_UNSAFE, 0);
    while ((got = read(fd, text + len, sizeof text - len)) > 0)
        len += (size_t)got;
    int cause = errno;
    close(fd);
    if (len == sizeof text)
        return refuse(w, n.text, PB_REASON_RULES_TOO_BIG, 0);
    if (got < 0)
        return refuse(w, n.text, PB_REASON_RULES_ERROR, cause);
    return judge_lines(w, n.text, text, len);
}

static bool rule_files(struct walk *w)
{
    static gid_t groups[GROUPS_MAX];
    gid_t real = getgid();
    bool decided = rules_step(w, "byuser", getuid());
    int count = getgroups(GROUPS_MAX, groups);

    for (int i = -1; !decided && i < count; i++)
        if (i < 0 || groups[i] != real)
            decided = rules_step(w, "bygroup", i < 0 ? real : groups[i]);
    return decided;
}

static void judge(struct walk *w)
{
    if (!flag_files(w) && !rule_files(w))
        refuse(w, "", PB_REASON_NO_RULE, 0);
}

/* Judges one request.  Fills the answer: PB_REASON_GRANTED or the reason of the
 * refusal, and the trace of the steps. */
void rules_judge(const struct pb_request *request, int protocol, struct answer *answer)
{
    static const unsigned char zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct walk w = {.answer = answer};
    struct question *q = &w.question;

    answer->reply.reason = PB_REASON_NO_RULE; /* until a file says otherwise */
    q->family = request->family;
    q->port = ntohs(request->port);
    q->udp = protocol == IPPROTO_UDP;
    memcpy(q->addr, request->addr, sizeof q->addr);
    /* A socket on ::ffff:a.b.c.d takes the port of a.b.c.d, so a.b.c.d is judged. */
    if (q->family == AF_INET6 && memcmp(q->addr, mapped, sizeof mapped) == 0) {
        q->family = AF_INET;
        memmove(q->addr, q->addr + 12, 4);
        memset(q->addr + 4, 0, 12);
    }
    if (open_config(&w))
        return;
    judge(&w);
    /* A socket on :: takes the IPv4 port too unless IPV6_V6ONLY is set.  Another
     * process can flip that option during the check (docs/hostile.md, 52). */
    if (answer->reply.reason == PB_REASON_GRANTED && q->family == AF_INET6 &&
        memcmp(q->addr, zero, sizeof zero) == 0) {
        q->family = AF_INET;
        w.v4_half = true;
        judge(&w);
    }
}
