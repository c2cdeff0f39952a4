/* SPDX-License-Identifier: MIT
 *
 * The limits that the command passes to the library in environment variables.  The
 * library reads them once, when it is loaded, and keeps them in its own memory:
 * programs overwrite their environment (setproctitle).
 *
 *   PYBIND_PORTS    the ports named by --port; pybind/plan.py writes it.
 *                   Lists joined by '|', one for each nested pybind: each list
 *                   must allow a bind.  A list is entries joined by ','.
 *                   Entry: port in 4 hex digits, protocol (t, u, or b for
 *                   both), then '*' or the address: '4' and 8 or '6' and 32
 *                   hex digits.
 *   PYBIND_DEPTH    how many programs in a chain of execve(2) are served
 *   PYBIND_VERBOSE  1: print on descriptor 2 why a bind failed
 *
 * All of this is for convenience, and under the user's control: the helper decides.
 */
#include <netinet/in.h>

#include "preload.h"

#define PORTS_LEN_MAX 8192

bool limits_verbose;
static bool environment_read, limited, too_long;
static bool covers_children; /* LD_PRELOAD names the library, so children load it */
static unsigned variables;   /* how many of our variables this program was started with */
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

/* Removes the library from the list, in place.  Returns whether the list is empty then. */
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

/* This program is the last that PYBIND_DEPTH serves: its children start without the
 * library. */
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

/* Counts PYBIND_DEPTH down in place, so 10 becomes 09: there is no room to write
 * elsewhere. */
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

/* A start script that sets its own LD_PRELOAD (jemalloc) would take the library from
 * the server that it executes.  Returns the index of that LD_PRELOAD in env, or -1.
 * An environment without LD_PRELOAD, or without one of our variables, was made so on
 * purpose and stays as it is. */
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

/* entry: the LD_PRELOAD of limits_lost_at().  Writes it to text with the library in
 * front.  Returns false when text is too small. */
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

/* entry: one entry of PYBIND_PORTS, len bytes.  Returns 0 when it names the request,
 * or the enum pb_word that says how they differ. */
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

/* Returns 0 when every list of PYBIND_PORTS has an entry that names the request.
 * Otherwise returns the enum pb_word of the entry that comes nearest: an entry for the
 * port tells the user more than one for another port. */
unsigned limits_exclude(const struct pb_request *request, int protocol)
{
    unsigned nearest = PB_WORD_PORT;

    read_environment(); /* a library may bind before our constructor runs */
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
