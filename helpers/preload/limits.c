/* SPDX-License-Identifier: MIT
 *
 * What the command told the library, read from the environment when the
 * library is loaded and kept in its own memory: programs overwrite their
 * environment (setproctitle).
 *
 *   PYBIND_PORTS    the ports named by --port: lists joined by '|' (one for
 *                   each nested pybind; all must allow), entries by ','.
 *                   Entry: port in 4 hex digits, protocol (t, u, or b for
 *                   both), then '*' or the address: '4' and 8 or '6' and 32
 *                   hex digits.  pybind/launch.py writes it.
 *   PYBIND_DEPTH    how many programs in a chain of execve(2) are served
 *   PYBIND_VERBOSE  1: say on descriptor 2 what became of a bind
 *
 * All of it is convenience and under the user's control; the helper decides.
 */
#include <netinet/in.h>

#include "preload.h"

#define PORTS_LEN_MAX 8192

bool limits_verbose;
static bool environment_read, limited, too_long;
static char ports[PORTS_LEN_MAX];

extern char **environ __attribute__((weak));

static char *value_of(char *entry, const char *name)
{
    while (*name && *entry == *name) {
        entry++;
        name++;
    }
    return *name == '\0' && *entry == '=' ? entry + 1 : NULL;
}

static size_t length(const char *s)
{
    size_t len = 0;

    while (s[len])
        len++;
    return len;
}

static void keep_ports(const char *value)
{
    size_t len = length(value);

    limited = true;
    too_long = len >= sizeof ports;
    memcpy(ports, value, too_long ? 0 : len + 1);
}

/* Takes LIBRARY_PATH out of the list in place; true when nothing is left. */
static bool remove_library(char *list)
{
    char *out = list;
    static const char path[] = LIBRARY_PATH;

    for (char *at = list; *at;) {
        size_t len = 0;
        while (at[len] && at[len] != ':' && at[len] != ' ')
            len++;
        size_t whole = len + (at[len] != '\0');
        if (len != sizeof path - 1 || memcmp(at, path, len) != 0) {
            for (size_t i = 0; i < whole; i++)
                *out++ = at[i];
        }
        at += whole;
    }
    while (out > list && (out[-1] == ':' || out[-1] == ' '))
        out--;
    *out = '\0';
    return out == list;
}

/* The last covered program: its children start without the library. */
static void end_coverage(void)
{
    char **out = environ;

    for (char **entry = environ; *entry; entry++) {
        char *preload = value_of(*entry, "LD_PRELOAD");
        if (!preload || !remove_library(preload))
            *out++ = *entry;
    }
    *out = NULL;
}

/* Counts down in place: the digits keep their width, 10 becomes 09. */
static void count_depth(char *digits)
{
    size_t len = length(digits), zeros = 0, last = 0;

    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return;
        if (digits[i] == '0')
            zeros++;
        else
            last = i;
    }
    if (zeros < len) {
        digits[last]--;
        zeros += digits[last] == '0';
        for (size_t i = last + 1; i < len; i++, zeros--)
            digits[i] = '9';
    }
    if (zeros == len)
        end_coverage();
}

__attribute__((constructor)) static void read_environment(void)
{
    char *depth = NULL;

    if (environment_read || !&environ || !environ)
        return;
    environment_read = true;
    for (char **entry = environ; *entry; entry++) {
        char *value;
        if ((value = value_of(*entry, "PYBIND_PORTS")))
            keep_ports(value);
        else if ((value = value_of(*entry, "PYBIND_DEPTH")))
            depth = value;
        else if ((value = value_of(*entry, "PYBIND_VERBOSE")))
            limits_verbose = *value == '1';
    }
    if (depth && *depth)
        count_depth(depth);
}

static unsigned hex(const char *text, size_t digits)
{
    unsigned value = 0;

    for (size_t i = 0; i < digits; i++)
        value = value << 4 | (unsigned)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
    return value;
}

static bool address_matches(const char *text, const struct pb_request *request)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool is_mapped = request->family == AF_INET6 &&
                     memcmp(request->addr, mapped, sizeof mapped) == 0;
    bool v4 = request->family == AF_INET || is_mapped;
    const uint8_t *addr = request->addr + (is_mapped ? 12 : 0);

    if (*text == '*')
        return true;
    if (*text != (v4 ? '4' : '6'))
        return false;
    for (size_t i = 0; i < (v4 ? 4u : 16u); i++)
        if (hex(text + 1 + 2 * i, 2) != addr[i])
            return false;
    return true;
}

/* One entry, which the command wrote; its end is ',', '|' or NUL. */
static bool entry_matches(const char *entry, size_t len, const struct pb_request *request,
                          int protocol)
{
    char kind = protocol == IPPROTO_UDP ? 'u' : 't';

    if (len < 6 || (entry[5] == '4' && len != 14) || (entry[5] == '6' && len != 38))
        return false;
    return hex(entry, 4) == port_of(request) && (entry[4] == 'b' || entry[4] == kind) &&
           address_matches(entry + 5, request);
}

bool limits_allow(const struct pb_request *request, int protocol)
{
    bool allowed = false;

    read_environment(); /* a library may bind before our constructor ran */
    if (!limited)
        return true;
    if (too_long)
        return false;
    for (const char *at = ports;;) {
        size_t len = 0;
        while (at[len] && at[len] != ',' && at[len] != '|')
            len++;
        allowed = allowed || entry_matches(at, len, request, protocol);
        at += len;
        if (*at != ',' && !allowed)
            return false;
        if (*at == '\0')
            return true;
        if (*at++ == '|')
            allowed = false;
    }
}
