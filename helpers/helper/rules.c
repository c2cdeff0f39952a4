/* SPDX-License-Identifier: MIT
 *
 * The permission files, in authbind's order (pybind(5)): byport, byaddr, then
 * byuser and bygroup; the first that decides, decides.  Only ENOENT goes on
 * to the next file; every other surprise refuses.  Files are opened with the
 * caller's rights: the helper has none of its own over files.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper.h"

#define RULES_SIZE_MAX (1u << 20)
#define GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

enum outcome { GO_ON, GRANT, REFUSE };

struct walk {
    struct question question;
    struct answer *answer;
    int config_fd;
    bool v4_half;
};

static void trace(struct walk *w, const char *name, enum pb_step_result result, uint32_t line)
{
    struct pb_trace *t = &w->answer->trace;

    if (t->count == PB_TRACE_MAX) {
        w->answer->reply.flags |= PB_FLAG_TRUNCATED;
        return;
    }
    struct pb_step *step = &t->steps[t->count++];
    step->result = (uint16_t)result;
    step->v4_half = w->v4_half;
    step->line = line;
    strcpy(step->name, name);
}

/* cause: the errno behind a refusal, 0 where the file's state is the reason. */
static enum outcome decide(struct walk *w, const char *name, enum pb_reason reason, int cause,
                           uint32_t line)
{
    struct pb_reply *reply = &w->answer->reply;
    bool grant = reason == PB_REASON_GRANTED;

    memset(reply->name, 0, sizeof reply->name);
    strcpy(reply->name, name);
    reply->reason = (uint16_t)reason;
    reply->cause = cause;
    reply->line = line;
    reply->flags |= w->v4_half && !grant ? PB_FLAG_V4_HALF : 0;
    if (strchr(name, '/')) /* a file, not a folder */
        trace(w, name, grant ? PB_STEP_GRANTS : PB_STEP_REFUSES, line);
    return grant ? GRANT : REFUSE;
}

static bool safely_roots(const struct stat *st)
{
    return st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* A missing directory is reported too: the caller decides what it means. */
static bool directory_is_safe(struct walk *w, int dir_fd, const char *path, const char *name)
{
    struct stat st;

    if (fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        decide(w, name, errno == ENOENT ? PB_REASON_CONFIG_MISSING : PB_REASON_CONFIG_ERROR,
               errno, 0);
    else if (!S_ISDIR(st.st_mode) || !safely_roots(&st))
        decide(w, name, PB_REASON_CONFIG_UNSAFE, 0, 0);
    else
        return true;
    return false;
}

/* Every component from / down: a caller that can only chroot(2) must not be
 * able to show the helper an /etc of his own (HOSTILE cases 25, 26).  Below a
 * directory found safe only root can change what the next look finds. */
static bool open_config(struct walk *w)
{
    static const char *const folders[] = {"byport", "byaddr", "byuser", "bygroup"};
    char path[] = CONFIG_DIR;
    bool safe = directory_is_safe(w, AT_FDCWD, "/", "");

    for (char *end = path; safe && end;) {
        end = strchr(end + 1, '/');
        if (end)
            *end = '\0';
        safe = directory_is_safe(w, AT_FDCWD, path, "");
        if (end)
            *end = '/';
    }
    w->config_fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (safe && w->config_fd < 0)
        return decide(w, "", PB_REASON_CONFIG_ERROR, errno, 0) == GRANT;
    for (size_t i = 0; safe && i < sizeof folders / sizeof *folders; i++)
        if (!directory_is_safe(w, w->config_fd, folders[i], folders[i]))
            safe = w->answer->reply.reason == PB_REASON_CONFIG_MISSING; /* as if empty */
    return safe;
}

/* A flag file: executable by the caller grants, present refuses, absent goes
 * on.  Its owner may be anybody (authbind practice), its kind may not. */
static enum outcome flag_step(struct walk *w, const char *name)
{
    struct stat st;

    if (fstatat(w->config_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            return decide(w, name, PB_REASON_FLAG_ERROR, errno, 0);
        trace(w, name, PB_STEP_ABSENT, 0);
        return GO_ON;
    }
    if (!S_ISREG(st.st_mode))
        return decide(w, name, PB_REASON_FLAG_KIND, 0, 0);
    if (faccessat(w->config_fd, name, X_OK, 0) == 0)
        return decide(w, name, PB_REASON_GRANTED, 0, 0);
    bool denied = errno == EACCES;
    return decide(w, name, denied ? PB_REASON_FLAG_DENIED : PB_REASON_FLAG_ERROR, errno, 0);
}

/* rsh and NFS style protocols take a source port in 512 to 1023 as a proof of
 * root, so these need a file that says it means them. */
static void start_name(struct name *n, const struct question *q, const char *folder)
{
    n->len = 0;
    name_put(n, folder);
    name_put(n, q->port >= 512 && q->port <= 1023 ? "/!" : "/");
}

/* byport/PORT, then byaddr/: two spellings each, IPv6 compressed and not, IPv4
 * with ':' and with ',' (a protocol goes with ',' only); with a protocol first. */
static enum outcome flag_files(struct walk *w)
{
    const struct question *q = &w->question;
    bool v4 = q->family == AF_INET;
    enum outcome outcome = GO_ON;

    for (int form = 0; outcome == GO_ON && form < 6; form++) {
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
        outcome = flag_step(w, n.text);
    }
    return outcome;
}

/* The whole file is parsed before any line counts: a typo must not let half
 * of a file be in force. */
static enum outcome judge_lines(struct walk *w, const char *name, char *text, size_t len)
{
    enum pb_fault fault = PB_FAULT_NONE;
    uint32_t match = 0, number = 0;

    for (char *line = text, *end; line < text + len; line = end + 1) {
        end = memchr(line, '\n', len - (size_t)(line - text));
        end = end ? end : text + len;
        number++;
        bool matches = parse_line(line, (size_t)(end - line), &w->question, &fault);
        if (fault) {
            w->answer->reply.fault = (uint16_t)fault;
            return decide(w, name, PB_REASON_RULES_BROKEN, 0, number);
        }
        if (matches && match == 0)
            match = number;
    }
    if (match)
        return decide(w, name, PB_REASON_GRANTED, 0, match);
    trace(w, name, PB_STEP_NO_MATCH, 0);
    return GO_ON;
}

static enum outcome rules_step(struct walk *w, const char *folder, unsigned id)
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
        return GO_ON;
    }
    if (fd < 0 && errno == EACCES)
        return decide(w, n.text, PB_REASON_RULES_UNREADABLE, errno, 0);
    if (fd < 0 && errno != ELOOP) /* ELOOP: a symbolic link */
        return decide(w, n.text, PB_REASON_RULES_ERROR, errno, 0);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !safely_roots(&st))
        return decide(w, n.text, PB_REASON_RULES_UNSAFE, 0, 0);
    while ((got = read(fd, text + len, sizeof text - len)) > 0)
        len += (size_t)got;
    int cause = errno;
    close(fd);
    if (len == sizeof text)
        return decide(w, n.text, PB_REASON_RULES_TOO_BIG, 0, 0);
    if (got < 0)
        return decide(w, n.text, PB_REASON_RULES_ERROR, cause, 0);
    return judge_lines(w, n.text, text, len);
}

static enum outcome rule_files(struct walk *w)
{
    static gid_t groups[GROUPS_MAX];
    gid_t real = getgid();
    enum outcome outcome = rules_step(w, "byuser", getuid());
    int count = getgroups(GROUPS_MAX, groups);

    for (int i = -1; outcome == GO_ON && i < count; i++)
        if (i < 0 || groups[i] != real)
            outcome = rules_step(w, "bygroup", i < 0 ? real : groups[i]);
    return outcome;
}

static enum outcome judge(struct walk *w)
{
    enum outcome outcome = flag_files(w);

    if (outcome == GO_ON)
        outcome = rule_files(w);
    return outcome == GO_ON ? decide(w, "", PB_REASON_NO_RULE, 0, 0) : outcome;
}

/* Fills the answer: PB_REASON_GRANTED, or why not, and the trace of the steps. */
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
    /* ::ffff:a.b.c.d takes the IPv4 port, so it is judged as a.b.c.d. */
    if (q->family == AF_INET6 && memcmp(q->addr, mapped, sizeof mapped) == 0) {
        q->family = AF_INET;
        memmove(q->addr, q->addr + 12, 4);
        memset(q->addr + 4, 0, 12);
    }
    if (!open_config(&w) || judge(&w) != GRANT)
        return;
    /* :: takes the IPv4 port too unless IPV6_V6ONLY is set, and that option
     * can be flipped by another process during the check (HOSTILE case 52). */
    if (q->family == AF_INET6 && memcmp(q->addr, zero, sizeof zero) == 0) {
        q->family = AF_INET;
        w.v4_half = true;
        judge(&w);
    }
}
