# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put by hand into how the helper judges by files: rules.c, parse.c and names.c."""

from mutants import FUZZ, PROCESS, RULES, Mutant

MUTANTS = [
    # rules.c: folders and files.
    Mutant("rules.c", "st->st_uid == 0 && ", "", RULES + "test_unsafe_folders"),
    Mutant("rules.c", "(S_IWGRP | S_IWOTH)", "S_IWOTH", RULES + "test_unsafe_folders"),
    Mutant("rules.c", "(S_IWGRP | S_IWOTH)", "S_IWGRP", RULES + "test_unsafe_folders"),
    Mutant(
        "rules.c",
        "fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW)",
        "fstatat(dir_fd, path, &st, 0)",
        RULES + "test_unsafe_folders",
    ),
    Mutant("rules.c", "S_ISDIR(st.st_mode) && ", "", RULES + "test_unsafe_folders"),
    Mutant(
        "rules.c",
        'bool refused = directory_refuses(w, AT_FDCWD, "/", "", false);',
        "bool refused = false;",
        PROCESS + "test_root_folder_must_be_roots",
    ),
    Mutant(
        "rules.c",
        '        refused = directory_refuses(w, AT_FDCWD, path, "", false);',
        "",
        RULES + "test_unsafe_folders",
    ),
    Mutant(
        "rules.c",
        "refused = directory_refuses(w, w->config_fd, folders[i], folders[i], true);",
        "(void)0;",
        RULES + "test_unsafe_folders",
    ),
    Mutant("rules.c", "folders[i], true);", "folders[i], false);", RULES + "test_missing_folders"),
    Mutant("rules.c", "error == ENOENT && may_lack", "may_lack", FUZZ),
    Mutant(
        "rules.c",
        'directory_refuses(w, AT_FDCWD, path, "", false);',
        'directory_refuses(w, AT_FDCWD, path, "", true);',
        RULES + "test_missing_folders",
    ),
    Mutant("rules.c", "    reply->cause = cause;\n", "", RULES + "test_unsearchable_folder"),
    Mutant("rules.c", "    reply->line = line;\n", "", RULES + "test_broken_line"),
    Mutant("rules.c", "    reply->fault = (uint16_t)fault;\n", "", RULES + "test_broken_line"),
    Mutant("rules.c", "w->v4_half && !grants ? PB", "!grants ? PB", RULES + "test_both_wildcards"),
    Mutant(
        "rules.c",
        "memcpy(to, name, strnlen(name, PB_NAME_MAX - 1));",
        "",
        RULES + "test_flag_grants",
    ),
    Mutant(
        "rules.c",
        "        if (errno != ENOENT)\n            return refuse(w, name, PB_REASON_FLAG_ERROR, errno);\n",
        "",
        RULES + "test_unsearchable_folder",
    ),
    Mutant(
        "rules.c",
        "    if (!S_ISREG(st.st_mode))\n        return refuse(w, name, PB_REASON_FLAG_KIND",
        "    if (0)\n        return refuse(w, name, PB_REASON_FLAG_KIND",
        RULES + "test_flag_must_be_regular",
    ),
    Mutant("rules.c", "name, X_OK, 0) == 0", "name, F_OK, 0) == 0", RULES + "test_flag_modes"),
    Mutant("rules.c", "name, X_OK, 0) == 0", "name, R_OK, 0) == 0", RULES + "test_flag_modes"),
    Mutant("rules.c", "name, X_OK, 0) == 0", "name, X_OK, 0) != 0", RULES + "test_flag_modes"),
    Mutant("rules.c", "q->port >= 512", "q->port > 512", RULES + "test_reserved_mark"),
    Mutant("rules.c", "q->port <= 1023", "q->port < 1023", RULES + "test_reserved_mark"),
    Mutant("rules.c", "q->port <= 1023", "1", RULES + "test_reserved_mark"),
    Mutant("rules.c", "!decided && form < 6", "form < 6", RULES + "test_flag_modes"),
    Mutant("rules.c", "form < 6; form++", "form < 5; form++", RULES + "test_flag_grants"),
    Mutant(
        "rules.c",
        "byaddr ? form < 4 : first;",
        "byaddr ? form < 4 : !first;",
        RULES + "test_protocol_form_comes_first",
    ),
    Mutant("rules.c", 'v4 && first ? ":" : ","', '","', RULES + "test_flag_grants"),
    Mutant(
        "rules.c", 'q->udp ? ",udp" : ",tcp"', '",tcp"', RULES + "test_protocol_form_comes_first"
    ),
    Mutant("rules.c", "        if (fault)\n", "        if (0)\n", RULES + "test_broken_line"),
    Mutant(
        "rules.c", "if (matches && match == 0)", "if (matches)", RULES + "test_protocols_of_a_line"
    ),
    Mutant(
        "rules.c", "    if (match)\n", "    if (match || number)\n", RULES + "test_user_then_groups"
    ),
    Mutant(
        "rules.c",
        "end = end ? end : text + len;",
        "if (!end) break;",
        RULES + "test_edges_of_a_file",
    ),
    Mutant(
        "rules.c",
        "    if (fd < 0 && errno == ENOENT) {",
        "    if (fd < 0) {",
        RULES + "test_unsafe_rule_files",
    ),
    Mutant(
        "rules.c",
        "O_RDONLY | O_NOFOLLOW | O_NONBLOCK",
        "O_RDONLY | O_NONBLOCK",
        RULES + "test_unsafe_rule_files",
    ),
    Mutant(
        "rules.c",
        " || !S_ISREG(st.st_mode) || !safely_roots(&st))",
        " || !S_ISREG(st.st_mode))",
        RULES + "test_unsafe_rule_files",
    ),
    Mutant(
        "rules.c",
        " || !S_ISREG(st.st_mode) || !safely_roots(&st))",
        " || !safely_roots(&st))",
        RULES + "test_unsafe_rule_files",
    ),
    Mutant("rules.c", "    if (len == sizeof text)", "    if (0)", RULES + "test_edges_of_a_file"),
    Mutant("rules.c", "    if (got < 0)", "    if (0)", FUZZ),
    Mutant("rules.c", " | O_NONBLOCK | O_NOCTTY", " | O_NOCTTY", FUZZ),
    Mutant("rules.c", "t->count == PB_TRACE_MAX", "0", RULES + "test_many_groups"),
    Mutant(
        "rules.c",
        'rules_step(w, "byuser", getuid())',
        'rules_step(w, "bygroup", getuid())',
        RULES + "test_rule_lines",
    ),
    Mutant(
        "rules.c",
        "for (int i = -1; !decided",
        "for (int i = 0; !decided",
        RULES + "test_nothing_grants",
    ),
    Mutant("rules.c", "i < count; i++", "i < count - 1; i++", RULES + "test_user_then_groups"),
    Mutant("rules.c", "!decided && i < count", "i < count", FUZZ),
    Mutant(
        "rules.c",
        "    if (!flag_files(w) && !rule_files(w))\n",
        "    if (flag_files(w) && rule_files(w))\n",
        RULES + "test_nothing_grants",
    ),
    Mutant(
        "rules.c",
        "    if (!flag_files(w) && !rule_files(w))\n",
        "    if (!flag_files(w) || !rule_files(w))\n",
        RULES + "test_flag_modes",
    ),
    Mutant(
        "rules.c",
        '        refuse(w, "", PB_REASON_NO_RULE, 0);',
        "        (void)0;",
        RULES + "test_both_wildcards",
    ),
    Mutant(
        "rules.c",
        "memcmp(q->addr, mapped, sizeof mapped) == 0",
        "0",
        RULES + "test_mapped_is_judged_as_ipv4",
    ),
    Mutant(
        "rules.c",
        "    if (open_config(&w))\n        return;\n",
        "    open_config(&w);\n",
        RULES + "test_unsafe_folders",
    ),
    Mutant("rules.c", "        judge(&w);\n    }", "    }", RULES + "test_both_wildcards"),
    Mutant(
        "rules.c",
        "answer->reply.reason == PB_REASON_GRANTED && q->family",
        "q->family",
        RULES + "test_both_wildcards",
    ),
    Mutant(
        "rules.c",
        "q->udp = protocol == IPPROTO_UDP;",
        "q->udp = false;",
        RULES + "test_protocol_form_comes_first",
    ),
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

# Faults that no run can show, and why.
EQUIVALENT = [
    Mutant(
        "names.c",
        "best == 0 && best_len == 6",
        "best_len == 6",
        "a run of six that starts later covers the seventh group, so none is written there",
    ),
    Mutant(
        "names.c",
        "n->len + len >= sizeof n->text",
        "0",
        "the longest name has 57 bytes: byaddr/! with 39 of an address and ,65535,tcp",
    ),
]
