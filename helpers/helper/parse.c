/* SPDX-License-Identifier: MIT
 *
 * Reads one line of a rule file: the line covers the question, or does not, or is
 * broken.  The forms of a line:
 *
 *     addrmin[-addrmax],portmin[-portmax][/protocol]
 *     addr/length,portmin[-portmax][/protocol]
 *     addr4/length:portmin,portmax[/protocol]
 *     any,portmin[-portmax][/protocol]
 *
 * '#' starts a comment.  Blanks may follow ',' and ':', and may end a rule.
 * authbind guesses what other lines mean.  Here every other line is broken, and a
 * broken line refuses the whole file (docs/hostile.md, 54, 55).
 */
#include <arpa/inet.h>
#include <string.h>

#include "helper.h"

#define BLANKS " \t"
#define ADDRESS_LEN(family) ((family) == AF_INET ? 4u : 16u)

struct rule {
    int family; /* 0: any */
    unsigned char addr_min[16], addr_max[16];
    unsigned port_min, port_max;
    bool tcp, udp;
};

/* Each parser moves *at behind the text that it read, and returns what is wrong. */

static bool take(char **at, const char *word)
{
    size_t len = strlen(word);
    bool there = strncmp(*at, word, len) == 0;

    *at += there ? len : 0;
    return there;
}

/* A decimal number without sign or leading zero.  Returns `over` for one above max. */
static enum pb_fault number(char **at, unsigned max, enum pb_fault over, unsigned *value)
{
    size_t len = strspn(*at, "0123456789");

    if (len == 0 || (len > 1 && **at == '0'))
        return PB_FAULT_SYNTAX;
    *value = 0;
    for (; len > 0; len--, (*at)++) {
        *value = *value * 10 + (unsigned)(**at - '0');
        if (*value > max)
            return over;
    }
    return PB_FAULT_NONE;
}

static enum pb_fault address(char **at, int *family, unsigned char *addr)
{
    size_t len = strspn(*at, "0123456789abcdefABCDEF:.");
    char *end = *at + len, next = *end;

    *end = '\0';
    *family = strchr(*at, ':') ? AF_INET6 : AF_INET;
    bool good = inet_pton(*family, *at, addr) == 1;
    *end = next;
    *at = end;
    return good ? PB_FAULT_NONE : PB_FAULT_ADDRESS;
}

/* The LENGTH of ADDRESS/LENGTH.  Makes addr_max the last address that the prefix
 * covers; on entry addr_max is addr_min. */
static enum pb_fault prefix(char **at, struct rule *r)
{
    unsigned length, bits = ADDRESS_LEN(r->family) * 8;
    enum pb_fault fault = number(at, bits, PB_FAULT_LENGTH, &length);

    for (unsigned bit = length; !fault && bit < bits; bit++) {
        unsigned char mask = (unsigned char)(0x80 >> bit % 8);
        if (r->addr_min[bit / 8] & mask)
            return PB_FAULT_HOST_BITS;
        r->addr_max[bit / 8] |= mask;
    }
    return fault;
}

static enum pb_fault address_range(char **at, struct rule *r)
{
    int max_family;

    if (take(at, "any"))
        return PB_FAULT_NONE;
    enum pb_fault fault = address(at, &r->family, r->addr_min);
    memcpy(r->addr_max, r->addr_min, sizeof r->addr_max);
    if (!fault && take(at, "/"))
        return prefix(at, r);
    if (fault || !take(at, "-"))
        return fault;
    fault = address(at, &max_family, r->addr_max);
    if (!fault && (max_family != r->family ||
                   memcmp(r->addr_min, r->addr_max, ADDRESS_LEN(r->family)) > 0))
        fault = PB_FAULT_ORDER;
    return fault;
}

static enum pb_fault port(char **at, unsigned *value)
{
    *at += strspn(*at, BLANKS);
    return number(at, 65535, PB_FAULT_PORT, value);
}

/* old_form: the form with ':' after an IPv4 prefix, which has ',' between the ports. */
static enum pb_fault port_range(char **at, bool old_form, struct rule *r)
{
    enum pb_fault fault = port(at, &r->port_min);

    r->port_max = r->port_min;
    if (fault)
        return fault;
    if (old_form)
        fault = take(at, ",") ? port(at, &r->port_max) : PB_FAULT_SYNTAX;
    else if (take(at, "-"))
        fault = number(at, 65535, PB_FAULT_PORT, &r->port_max);
    return !fault && r->port_min > r->port_max ? PB_FAULT_ORDER : fault;
}

static enum pb_fault rule(char *at, struct rule *r)
{
    enum pb_fault fault = address_range(&at, r);

    if (fault)
        return fault;
    /* An IPv6 address contains ':' itself, so ':' can only follow an IPv4 prefix. */
    bool old_form = r->family == AF_INET && take(&at, ":");
    if (!old_form && !take(&at, ","))
        return PB_FAULT_SYNTAX;
    fault = port_range(&at, old_form, r);
    if (fault)
        return fault;
    r->tcp = r->udp = true;
    if (take(&at, "/")) {
        r->tcp = take(&at, "tcp");
        r->udp = !r->tcp && take(&at, "udp");
        if (!r->tcp && !r->udp)
            return PB_FAULT_PROTOCOL;
    }
    return at[strspn(at, BLANKS)] == '\0' ? PB_FAULT_NONE : PB_FAULT_SYNTAX;
}

static bool covers(const struct rule *r, const struct question *q)
{
    size_t len = ADDRESS_LEN(q->family);

    return q->port >= r->port_min && q->port <= r->port_max && (q->udp ? r->udp : r->tcp) &&
           (r->family == 0 ||
            (r->family == q->family && memcmp(q->addr, r->addr_min, len) >= 0 &&
             memcmp(q->addr, r->addr_max, len) <= 0));
}

/* line: len bytes without the newline, then one byte that is overwritten.
 * A control byte could hide a rule from whoever reads the file on a terminal, or
 * end the line early for one parser only.  A comment may hold non-ASCII bytes. */
bool parse_line(char *line, size_t len, const struct question *question, enum pb_fault *fault)
{
    struct rule r = {0};
    bool comment = false;

    *fault = len > LINE_LEN_MAX ? PB_FAULT_TOO_LONG : PB_FAULT_NONE;
    for (size_t i = 0; !*fault && i < len; i++) {
        unsigned char byte = (unsigned char)line[i];
        comment = comment || byte == '#';
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f || (byte >= 0x80 && !comment))
            *fault = PB_FAULT_BYTE;
    }
    line[len] = '\0';
    line[strcspn(line, "#")] = '\0';
    if (*fault || line[strspn(line, BLANKS)] == '\0')
        return false;
    *fault = rule(line, &r);
    return !*fault && covers(&r, question);
}
