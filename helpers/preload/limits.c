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
static bool covers_children; /* they start with the library, because LD_PRELOAD names it */
static unsigned variables;   /* of ours, with which this program was started */
static char ports[PORTS_LEN_MAX];

static const char library_path[] = LIBRARY_PATH;

static char *value_of(const char *entry, const char *name)
{
    while (*name && *entry == *name) {
        entry++;
        name++;
    }
    return *name == '\0' && *entry == '=' ? (char *)entry + 1 : NULL;
}

static size_t length(const char *s)
{
    size_t len = 0;

    while (s[len])
        len++;
    return len;
}

static bool is_ours(const char *entry)
{
    return value_of(entry, "PYBIND_PORTS") || value_of(entry, "PYBIND_DEPTH") ||
           value_of(entry, "PYBIND_VERBOSE");
}

static void keep_ports(const char *value)
{
    size_t len = length(value);

    limited = true;
    too_long = len >= sizeof ports;
    memcpy(ports, value, too_long ? 0 : len + 1);
}

/* The length of the first word of an LD_PRELOAD list (ld.so(8)). */
static size_t word_length(const char *list)
{
    size_t len = 0;

    while (list[len] && list[len] != ':' && list[len] != ' ')
        len++;
    return len;
}

static bool is_library(const char *word, size_t len)
{
    return len == sizeof library_path - 1 && memcmp(word, library_path, len) == 0;
}

static bool names_library(const char *list)
{
    for (const char *at = list; *at; at++) {
        size_t len = word_length(at);
        if (is_library(at, len))
            return true;
        at += len;
        if (*at == '\0')
            break;
    }
    return false;
}

/* Takes the library out of the list in place; true when nothing is left. */
static bool remove_library(char *list)
{
    char *out = list;

    for (char *at = list; *at;) {
        size_t len = word_length(at), whole = len + (at[len] != '\0');
        if (!is_library(at, len)) {
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

    covers_children = false;
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
    char *depth = NULL, *value;

    if (environment_read || !&environ || !environ)
        return;
    environment_read = true;
    for (char **entry = environ; *entry; entry++) {
        variables += is_ours(*entry);
        if ((value = value_of(*entry, "PYBIND_PORTS")))
            keep_ports(value);
        else if ((value = value_of(*entry, "PYBIND_DEPTH")))
            depth = value;
        else if ((value = value_of(*entry, "PYBIND_VERBOSE")))
            limits_verbose = *value == '1';
        else if ((value = value_of(*entry, "LD_PRELOAD")))
            covers_children = names_library(value);
    }
    if (limits_verbose)
        report_look();
    if (depth && *depth)
        count_depth(depth);
}

/* A start script that sets an LD_PRELOAD of its own (jemalloc) takes the library
 * from the server that it executes.  Returns the place of that entry, or -1: an
 * environment without LD_PRELOAD, or without all of our variables, was meant. */
long limits_lost_at(char *const *env)
{
    long found = -1;
    unsigned ours = 0;
    const char *list = "";

    read_environment();
    if (!covers_children || !env)
        return -1;
    for (long i = 0; env[i]; i++) {
        char *value = value_of(env[i], "LD_PRELOAD");
        ours += is_ours(env[i]);
        if (value) {
            list = value;
            found = i;
        }
    }
    return *list && ours == variables && !names_library(list) ? found : -1;
}

/* Writes such an entry with the library in front again; false: no room for it. */
bool limits_restore(const char *entry, char *text, size_t size)
{
    static const char name[] = "LD_PRELOAD=" LIBRARY_PATH ":";
    const char *list = value_of(entry, "LD_PRELOAD");
    size_t len = length(list) + 1;

    if (sizeof name - 1 + len > size)
        return false;
    memcpy(text, name, sizeof name - 1);
    memcpy(text + sizeof name - 1, list, len);
    return true;
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

/* One entry, which the command wrote; its end is ',', '|' or NUL.  Returns how it
 * differs from what is asked, enum pb_word, or 0. */
static unsigned entry_differs(const char *entry, size_t len, const struct pb_request *request,
                              int protocol)
{
    char kind = protocol == IPPROTO_UDP ? 'u' : 't';

    if (len < 6 || (entry[5] == '4' && len != 14) || (entry[5] == '6' && len != 38) ||
        hex(entry, 4) != port_of(request))
        return PB_WORD_PORT;
    if (entry[4] != 'b' && entry[4] != kind)
        return PB_WORD_PROTOCOL;
    return address_matches(entry + 5, request) ? 0 : PB_WORD_ADDRESS;
}

/* Of the entries of a list the nearest counts; every list has to have one. */
unsigned limits_exclude(const struct pb_request *request, int protocol)
{
    unsigned nearest = PB_WORD_PORT;

    read_environment(); /* a library may bind before our constructor ran */
    if (!limited)
        return 0;
    for (const char *at = ports; !too_long;) {
        size_t len = 0;
        while (at[len] && at[len] != ',' && at[len] != '|')
            len++;
        unsigned differs = entry_differs(at, len, request, protocol);
        if (differs == 0 || (nearest != 0 && differs > nearest))
            nearest = differs;
        at += len;
        if (*at != ',' && nearest != 0)
            return nearest;
        if (*at == '\0')
            return 0;
        if (*at++ == '|')
            nearest = PB_WORD_PORT;
    }
    return nearest;
}
