/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "oracle.h"

typedef unsigned __int128 number;

struct text {
    const unsigned char *at, *end;
};

struct address {
    bool v6;
    number value;
};

static int peek(const struct text *t)
{
    return t->at < t->end ? *t->at : -1;
}

static bool eat(struct text *t, int byte)
{
    if (peek(t) != byte)
        return false;
    t->at++;
    return true;
}

static bool eat_word(struct text *t, const char *word)
{
    struct text try = *t;

    for (; *word; word++)
        if (!eat(&try, *word))
            return false;
    *t = try;
    return true;
}

static void eat_blanks(struct text *t)
{
    while (eat(t, ' ') || eat(t, '\t'))
        ;
}

static bool eat_number(struct text *t, unsigned max, unsigned *value)
{
    const unsigned char *start = t->at;
    unsigned long long sum = 0;

    for (; peek(t) >= '0' && peek(t) <= '9'; t->at++)
        if (sum <= max)
            sum = sum * 10 + (unsigned)(*t->at - '0');
    *value = (unsigned)sum;
    return t->at > start && sum <= max && (t->at == start + 1 || *start != '0');
}

static bool eat_ipv4(struct text *t, number *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned part;
        if ((i > 0 && !eat(t, '.')) || !eat_number(t, 255, &part))
            return false;
        *value = *value << 8 | part;
    }
    return true;
}

static int digit(int byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* RFC 4291, 2.2. The bits before and after "::" are collected separately. */
static bool eat_ipv6(struct text *t, number *value)
{
    number part[2] = {0, 0};
    int groups = 0, gap = -1;

    if (eat_word(t, "::"))
        gap = 0;
    while (groups < 8 && digit(peek(t)) >= 0) {
        struct text quad = *t;
        number four, *into = &part[gap >= 0];
        unsigned group = 0, digits = 0;
        if (groups <= 6 && eat_ipv4(&quad, &four) && (digit(peek(&quad)) < 0) &&
            peek(&quad) != '.' && peek(&quad) != ':') {
            *into = *into << 32 | four;
            groups += 2;
            *t = quad;
            break;
        }
        for (; digits < 4 && digit(peek(t)) >= 0; digits++, t->at++)
            group = group << 4 | (unsigned)digit(*t->at);
        *into = *into << 16 | group;
        groups++;
        if (gap < 0 && eat_word(t, "::"))
            gap = groups;
        else if (!eat(t, ':'))
            break;
        else if (digit(peek(t)) < 0)
            return false;
    }
    if (gap < 0 ? groups != 8 : groups > 7)
        return false;
    *value = gap < 0 ? part[0] : part[1];
    if (gap > 0)
        *value |= part[0] << 16 * (8 - gap);
    return true;
}

/* Takes the longest run of bytes that can belong to an address, and reads the run as IPv4 or
 * IPv6. */
static bool eat_address(struct text *t, struct address *a)
{
    struct text word = *t;

    a->v6 = false;
    while (digit(peek(&word)) >= 0 || peek(&word) == '.' || peek(&word) == ':')
        if (*word.at++ == ':')
            a->v6 = true;
    struct text inside = {t->at, word.at};
    t->at = word.at;
    return (a->v6 ? eat_ipv6(&inside, &a->value) : eat_ipv4(&inside, &a->value)) &&
           inside.at == inside.end;
}

struct reach {
    bool any, v6, tcp, udp;
    number low, high;
    unsigned port_low, port_high;
};

static bool eat_addresses(struct text *t, struct reach *r, bool *old_form)
{
    struct address first, last;
    unsigned length;

    *old_form = false;
    r->any = eat_word(t, "any");
    if (r->any)
        return true;
    if (!eat_address(t, &first))
        return false;
    r->v6 = first.v6;
    r->low = r->high = first.value;
    if (eat(t, '-')) {
        if (!eat_address(t, &last) || last.v6 != first.v6 || last.value < first.value)
            return false;
        r->high = last.value;
    } else if (eat(t, '/')) {
        unsigned width = first.v6 ? 128 : 32;
        if (!eat_number(t, width, &length))
            return false;
        number host = width == length ? 0 : ~(number)0 >> (128 - (width - length));
        if (first.value & host)
            return false;
        r->high = first.value | host;
        *old_form = !first.v6 && peek(t) == ':';
    }
    return true;
}

static bool eat_rule(struct text *t, struct reach *r)
{
    bool old_form;

    if (!eat_addresses(t, r, &old_form) || !eat(t, old_form ? ':' : ','))
        return false;
    eat_blanks(t);
    if (!eat_number(t, 65535, &r->port_low))
        return false;
    r->port_high = r->port_low;
    if (old_form) {
        if (!eat(t, ','))
            return false;
        eat_blanks(t);
    }
    if ((old_form || eat(t, '-')) && !eat_number(t, 65535, &r->port_high))
        return false;
    r->tcp = r->udp = true;
    if (eat(t, '/')) {
        r->tcp = eat_word(t, "tcp");
        r->udp = !r->tcp && eat_word(t, "udp");
    }
    return r->port_low <= r->port_high && (r->tcp || r->udp);
}

enum oracle_verdict oracle_line(const unsigned char *text, size_t len,
                                const struct oracle_question *q)
{
    struct text t = {text, text};
    struct reach r = {0};
    number value = 0;

    if (len > 255)
        return ORACLE_BROKEN;
    for (size_t i = 0; i < len; i++)
        if ((text[i] < ' ' && text[i] != '\t') || text[i] == 127)
            return ORACLE_BROKEN;
    for (; t.end < text + len && *t.end != '#'; t.end++)
        if (*t.end > 127)
            return ORACLE_BROKEN;
    eat_blanks(&t);
    if (t.at == t.end)
        return ORACLE_ELSEWHERE;
    t.at = text;
    if (!eat_rule(&t, &r))
        return ORACLE_BROKEN;
    eat_blanks(&t);
    if (t.at != t.end)
        return ORACLE_BROKEN;
    for (int i = 0; i < (q->v6 ? 16 : 4); i++)
        value = value << 8 | q->address[i];
    bool here = r.any || (r.v6 == q->v6 && r.low <= value && value <= r.high);
    return here && (q->udp ? r.udp : r.tcp) && r.port_low <= q->port && q->port <= r.port_high
               ? ORACLE_COVERS
               : ORACLE_ELSEWHERE;
}

long oracle_file(const unsigned char *text, size_t len, const struct oracle_question *question)
{
    long number_of_line = 0, covers = 0;

    for (size_t start = 0; start < len;) {
        size_t stop = start;
        while (stop < len && text[stop] != '\n')
            stop++;
        enum oracle_verdict verdict = oracle_line(text + start, stop - start, question);
        number_of_line++;
        if (verdict == ORACLE_BROKEN)
            return -number_of_line;
        if (verdict == ORACLE_COVERS && covers == 0)
            covers = number_of_line;
        start = stop + 1;
    }
    return covers;
}
