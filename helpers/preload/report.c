/* SPDX-License-Identifier: MIT
 *
 * One line about one bind, for people who asked with -v.  Written by the
 * intermediate, where SIGPIPE is blocked and errno is nobody's.
 */
#include <netinet/in.h>

#include "arch.h"
#include "preload.h"

#define LINE_MAX_LEN 256

struct line {
    char text[LINE_MAX_LEN];
    size_t len;
};

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

/* reply: NULL where the helper did not answer, or with exec_error never ran. */
void report(int fd, const struct pb_request *request, const struct pb_reply *reply,
            int exec_error)
{
    struct line l = {.len = 0};

    add(&l, "pybind: bind of port ");
    add_number(&l, port_of(request));
    add(&l, request->family == AF_INET ? " (IPv4): " : " (IPv6): ");
    if (reply)
        add(&l, reason_text(reply->reason));
    else
        add(&l, exec_error ? "cannot start " HELPER_PATH : "the helper died before it answered");
    if (reply && reply->name[0]) {
        add(&l, ", " CONFIG_DIR "/");
        for (size_t i = 0; i < PB_NAME_MAX && reply->name[i] && l.len < sizeof l.text; i++)
            l.text[l.len++] = reply->name[i];
    }
    if (reply && reply->line) {
        add(&l, " line ");
        add_number(&l, reply->line);
    }
    if (reply && reply->flags & PB_FLAG_V4_HALF)
        add(&l, " (the 0.0.0.0 half of ::)");
    if (exec_error || (reply && reply->cause)) {
        add(&l, ", errno ");
        add_number(&l, (unsigned)(exec_error ? exec_error : reply->cause));
    }
    add(&l, "\n");
    raw(SYS_write, fd, l.text, l.len);
}
