/* SPDX-License-Identifier: MIT
 *
 * Prints one line about one bind, for people who asked with -v.  A process of its own
 * prints the line, so that the program never gets the SIGPIPE.  Where such a process
 * cannot be started, the program's thread prints it.  Nothing waits for a reader: a
 * line that would have to wait is dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/stat.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>

#include "arch.h"
#include "preload.h"

#define LINE_MAX_LEN 320
#define STDERR 2
#define FIRST_USER_NAMESPACE "user:[4026531837]" /* PROC_USER_INIT_INO of the kernel */

struct line {
    char text[LINE_MAX_LEN];
    size_t len;
};

struct saying {
    const struct pb_request *request;
    int protocol;
    unsigned word;                 /* enum pb_word, or 0: the outcome decides */
    const struct outcome *outcome; /* NULL with a word */
    bool apart;                    /* in a process of its own, which a filter may kill */
};

/* The file behind descriptor 2 at the start; at the last look, was it still there? */
static struct statx stderr_was;
static bool stderr_known, stderr_remains;

static bool look(struct statx *now)
{
    return raw(SYS_statx, STDERR, "", AT_EMPTY_PATH, STATX_INO, now) == 0;
}

static bool stderr_is_what_it_was(void)
{
    struct statx now;

    return stderr_known && look(&now) && now.stx_ino == stderr_was.stx_ino &&
           now.stx_dev_major == stderr_was.stx_dev_major &&
           now.stx_dev_minor == stderr_was.stx_dev_minor;
}

/* Looks whether descriptor 2 is still the file that it was at the start: a program may
 * put a file of its own there.  Called at the start, and before the program may set a
 * seccomp filter that kills for statx(2). */
void report_look(void)
{
    if (!stderr_known)
        stderr_known = look(&stderr_was);
    stderr_remains = stderr_is_what_it_was();
}

static void add(struct line *l, const char *text)
{
    while (*text && l->len < sizeof l->text)
        l->text[l->len++] = *text++;
}

static void add_number(struct line *l, unsigned value)
{
    char digits[11], *p = digits + sizeof digits - 1;

    *p = '\0';
    do
        *--p = (char)('0' + value % 10);
    while (value /= 10);
    add(l, p);
}

/* The form that users write: 80/tcp. */
static void add_port(struct line *l, const struct saying *s)
{
    add_number(l, port_of(s->request));
    add(l, s->protocol == IPPROTO_UDP ? "/udp" : "/tcp");
}

static void add_errno(struct line *l, unsigned error)
{
    add(l, ", errno ");
    add_number(l, error);
    add(l, error == EPERM           ? " (Operation not permitted)"
           : error == ENOENT        ? " (No such file or directory)"
           : error == EAGAIN        ? " (Resource temporarily unavailable)"
           : error == ENOMEM        ? " (Cannot allocate memory)"
           : error == EACCES        ? " (Permission denied)"
           : error == EMFILE        ? " (Too many open files)"
           : error == EADDRNOTAVAIL ? " (Cannot assign requested address)"
                                    : "");
}

static const char *reason_text(unsigned reason)
{
    switch (reason) {
#define X(name, value, text) \
    case value: \
        return text;
        PB_REASONS(X)
#undef X
    default:
        return "unknown reason";
    }
}

static const char *word_text(unsigned word)
{
    static const char *const texts[] = {
#define X(name, value, text) [value] = text,
        PB_WORDS(X)
#undef X
    };

    return texts[word];
}

static bool in_user_namespace(void)
{
    char name[sizeof FIRST_USER_NAMESPACE] = "";
    long len = raw(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/user", name, sizeof name);

    return len > 0 && memcmp(name, FIRST_USER_NAMESPACE, sizeof name) != 0;
}

/* The word that explains a reply better than its reason does, or 0. */
static unsigned word_of_reply(const struct pb_reply *reply, bool apart)
{
    unsigned reason = reply->reason;

    if (reason == PB_REASON_NO_RULE)
        return PB_WORD_NO_GRANT;
    if (reason == PB_REASON_KERNEL && reply->error == EADDRINUSE)
        return PB_WORD_BUSY;
    /* In a user namespace, root's files seem to be owned by nobody, and a capability
     * counts for nothing outside.  The reason would mislead. */
    bool usual = reason == PB_REASON_CONFIG_UNSAFE || reason == PB_REASON_NO_CAPABILITY ||
                 (reason == PB_REASON_KERNEL && reply->error == EACCES);
    return usual && apart && in_user_namespace() ? PB_WORD_USER_NAMESPACE : 0;
}

static unsigned word_of_outcome(const struct outcome *outcome, bool apart)
{
    int error = outcome->error;

    if (outcome->no_new_privs)
        return PB_WORD_NO_NEW_PRIVS;
    if (outcome->result == SPAWN_ANSWERED)
        return word_of_reply(&outcome->reply, apart);
    if (outcome->started && error == ENOENT)
        return PB_WORD_NO_HELPER;
    /* The kernel itself refuses no process with EPERM or ENOSYS: a filter does. */
    return outcome->signal == SIGSYS || error == EPERM || error == ENOSYS ? PB_WORD_SECCOMP : 0;
}

static void add_reply(struct line *l, const struct pb_reply *reply)
{
    int error = reply->cause;

    add(l, reason_text(reply->reason));
    if (reply->name[0]) {
        add(l, ", " CONFIG_DIR "/");
        for (size_t i = 0; i < PB_NAME_MAX && reply->name[i] && l->len < sizeof l->text; i++)
            l->text[l->len++] = reply->name[i];
    }
    if (reply->line) {
        add(l, " line ");
        add_number(l, reply->line);
    }
    if (reply->flags & PB_FLAG_V4_HALF)
        add(l, " (the 0.0.0.0 half of ::)");
    if (error)
        add_errno(l, (unsigned)error);
}

static void add_failure(struct line *l, const struct outcome *outcome)
{
    if (outcome->error) {
        add(l, outcome->started ? "cannot start " HELPER_PATH : "cannot start a process");
        add_errno(l, (unsigned)outcome->error);
    } else {
        add(l, "the helper died before it answered");
    }
}

static void compose(struct line *l, const struct saying *s)
{
    unsigned word = s->word ? s->word : word_of_outcome(s->outcome, s->apart);

    add(l, "pybind: bind of port ");
    add_port(l, s);
    add(l, s->request->family == AF_INET ? " (IPv4): " : " (IPv6): ");
    if (!word && s->outcome->result == SPAWN_ANSWERED)
        add_reply(l, &s->outcome->reply);
    else if (!word)
        add_failure(l, s->outcome);
    else
        add(l, word_text(word));
    if (word == PB_WORD_NO_GRANT) {
#ifdef SYS_getuid32
        add_number(l, (unsigned)raw(SYS_getuid32, 0));
#else
        add_number(l, (unsigned)raw(SYS_getuid, 0));
#endif
        add(l, " ");
    }
    if (word == PB_WORD_BUSY)
        add_number(l, port_of(s->request));
    else if (word && word <= PB_WORD_NO_GRANT)
        add_port(l, s);
    if (l->len == sizeof l->text)
        l->len--;
    add(l, "\n");
}

static void say(const struct saying *s)
{
    struct line l = {.len = 0};

    compose(&l, s);
    raw(SYS_write, STDERR, l.text, l.len);
}

static void say_apart(void *arg)
{
    struct saying *s = arg;
    struct pollfd room = {.fd = STDERR, .events = POLLOUT};
    struct duration now = {0};

    s->apart = true;
    if (stderr_is_what_it_was() && raw(SYS_ppoll, &room, 1, &now, NULL, SIGSET_LEN) == 1 &&
        room.revents == POLLOUT)
        say(s);
    for (;;)
        raw(SYS_exit_group, 0);
}

static void report(struct saying *s)
{
    uint64_t all = ~0ull, old; /* SIGSET_LEN bytes */

    if (privileges_given_up()) { /* a filter may kill for every call but write(2) */
        if (stderr_remains)
            say(s);
        return;
    }
    if (raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, SIGSET_LEN) != 0)
        return;
    if (spawn_apart(say_apart, s) < 0 && stderr_is_what_it_was())
        say(s);
    raw(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, SIGSET_LEN);
}

void report_word(const struct pb_request *request, int protocol, unsigned word)
{
    struct saying s = {.request = request, .protocol = protocol, .word = word};

    if (limits_verbose)
        report(&s);
}

void report_outcome(const struct pb_request *request, int protocol, const struct outcome *outcome)
{
    struct saying s = {.request = request, .protocol = protocol, .outcome = outcome};

    if (limits_verbose)
        report(&s);
}
