# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put into parse.c and names.c by hand; mutant.py says what an entry is."""

from mutant import FUZZ, RULES, Mutant

TEXT_MUTANTS = [
    # parse.c: one line.
    Mutant("parse.c", "len > 1 && **at == '0'", "0", RULES + "test_broken_line"),
    Mutant("parse.c", "if (*value > max)", "if (*value > max + 1)", RULES + "test_broken_line"),
    Mutant("parse.c", "            return over;", "            break;", RULES + "test_broken_line"),
    Mutant(
        "parse.c",
        "inet_pton(*family, *at, addr) == 1",
        "inet_pton(*family, *at, addr) >= 0",
        RULES + "test_broken_line",
    ),
    Mutant("parse.c", "if (r->addr_min[bit / 8] & mask)", "if (0)", RULES + "test_broken_line"),
    Mutant("parse.c", "0x80 >> bit % 8", "1 << bit % 8", RULES + "test_rule_lines"),
    Mutant(
        "parse.c",
        "unsigned bit = length; !fault",
        "unsigned bit = length + 1; !fault",
        RULES + "test_rule_lines",
    ),
    Mutant("parse.c", "max_family != r->family ||", "0 ||", RULES + "test_broken_line"),
    Mutant("parse.c", "ADDRESS_LEN(r->family)) > 0)", "ADDRESS_LEN(r->family)) > 1)", FUZZ),
    Mutant(
        "parse.c",
        'r->family == AF_INET && take(&at, ":")',
        'take(&at, ":")',
        RULES + "test_broken_line",
    ),
    Mutant("parse.c", "r->port_min > r->port_max ?", "0 ?", RULES + "test_broken_line"),
    Mutant(
        "parse.c",
        '        r->udp = !r->tcp && take(&at, "udp");',
        '        take(&at, "udp");',
        FUZZ,
    ),
    Mutant("parse.c", "at[strspn(at, BLANKS)] == '\\0' ?", "1 ?", RULES + "test_broken_line"),
    Mutant("parse.c", "q->port >= r->port_min", "q->port > r->port_min", RULES + "test_rule_lines"),
    Mutant("parse.c", "q->port <= r->port_max", "q->port < r->port_max", RULES + "test_rule_lines"),
    Mutant(
        "parse.c", "(q->udp ? r->udp : r->tcp)", "(r->udp || r->tcp)", RULES + "test_rule_lines"
    ),
    Mutant("parse.c", "(r->family == q->family && ", "(", RULES + "test_rule_lines"),
    Mutant("parse.c", "memcmp(q->addr, r->addr_min, len) >= 0", "1", RULES + "test_rule_lines"),
    Mutant(
        "parse.c",
        "memcmp(q->addr, r->addr_min, len) >= 0",
        "memcmp(q->addr, r->addr_min, len) > 0",
        RULES + "test_rule_lines",
    ),
    Mutant("parse.c", "memcmp(q->addr, r->addr_max, len) <= 0", "1", RULES + "test_rule_lines"),
    Mutant("parse.c", "len > LINE_LEN_MAX", "len > LINE_LEN_MAX + 1", RULES + "test_broken_line"),
    Mutant("parse.c", "(byte < 0x20 && byte != '\\t')", "0", RULES + "test_broken_line"),
    Mutant("parse.c", "byte == 0x7f", "0", RULES + "test_broken_line"),
    Mutant("parse.c", "(byte >= 0x80 && !comment)", "0", RULES + "test_broken_line"),
    Mutant(
        "parse.c",
        "return !*fault && covers(&r, question);",
        "return !*fault;",
        RULES + "test_rule_lines",
    ),
    # names.c: what a file is called.
    Mutant("names.c", "compress ? 1 : 8", "compress ? 0 : 8", RULES + "test_ipv6_spellings"),
    Mutant("names.c", "compress ? 1 : 8", "8", RULES + "test_ipv6_names"),
    Mutant("names.c", "if (len > best_len)", "if (len >= best_len)", RULES + "test_ipv6_spellings"),
    Mutant("names.c", "best_len == 6) {", "0) {", RULES + "test_ipv6_spellings"),
    Mutant("names.c", '"0123456789abcdef"', '"0123456789ABCDEF"', RULES + "test_ipv6_spellings"),
]
