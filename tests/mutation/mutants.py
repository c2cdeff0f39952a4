# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put into the helper by hand: one list.

Each replaces one piece of text, which must be there exactly once, and names
the test that notices: a node of pytest, COMPAT (the comparison with authbind's
helper and the model) or FUZZ (the kept inputs of the fuzz targets).
"""

from typing import NamedTuple

COMPAT = "compat"
FUZZ = "fuzz"
PROCESS = "tests/helper/test_process.py::"
PROTOCOL = "tests/helper/test_protocol.py::"
RULES = "tests/helper/test_rules.py::"


class Mutant(NamedTuple):
    """A fault: in FILE of helpers/helper, OLD becomes NEW; killer is what notices it."""

    file: str
    old: str
    new: str
    killer: str


MUTANTS = [
    # main.c: what is taken as a request.
    Mutant(
        "main.c",
        "        domain != AF_UNIX)",
        "        0)",
        PROCESS + "test_reply_descriptor_of_another_kind",
    ),
    Mutant("main.c", "request->magic != PB_MAGIC", "0", PROTOCOL + "test_unserved"),
    Mutant("main.c", "got < 8", "got < 1", PROCESS + "test_other_messages"),
    Mutant("main.c", "(msg.msg_flags & MSG_CTRUNC)", "0", PROCESS + "test_passed_descriptors"),
    Mutant("main.c", "request->version != PB_VERSION", "0", PROTOCOL + "test_unserved"),
    Mutant("main.c", "got != sizeof *request", "0", PROCESS + "test_other_messages"),
    Mutant("main.c", "(msg.msg_flags & MSG_TRUNC)", "0", PROCESS + "test_other_messages"),
    Mutant("main.c", "request->zero != 0", "0", PROCESS + "test_other_messages"),
    Mutant("main.c", "(!binding && request->op != PB_OP_CHECK)", "0", PROTOCOL + "test_unserved"),
    Mutant("main.c", "(binding && protocol != 0)", "0", PROTOCOL + "test_unserved"),
    Mutant(
        "main.c",
        "(request->family != AF_INET && request->family != AF_INET6)",
        "0",
        PROTOCOL + "test_unserved",
    ),
    Mutant(
        "main.c",
        "memcmp(request->addr + 4, none, sizeof none) != 0",
        "0",
        PROTOCOL + "test_ipv4_request_with_more_than_four_bytes",
    ),
    Mutant(
        "main.c",
        "        reason = socket_check(",
        "        (void)socket_check(",
        PROTOCOL + "test_unserved",
    ),
    Mutant(
        "main.c",
        "!reason && protocol != IPPROTO_TCP",
        "0 && protocol != IPPROTO_TCP",
        PROTOCOL + "test_check_of_unserved_protocol",
    ),
    Mutant("main.c", "protocol != IPPROTO_MPTCP", "1", PROTOCOL + "test_bind"),
    Mutant("main.c", "if (request->port == 0)", "if (0)", PROTOCOL + "test_unserved"),
    Mutant("main.c", "getuid() != geteuid() || ", "", PROTOCOL + "test_half_another_user"),
    Mutant("main.c", " || getgid() != getegid()", "", PROTOCOL + "test_half_another_user"),
    Mutant("main.c", "if (granted && !capable)", "if (0)", PROTOCOL + "test_no_capability"),
    Mutant(
        "main.c",
        "else if (granted && request.op",
        "else if (request.op",
        PROTOCOL + "test_refused_binds_nothing",
    ),
    Mutant(
        "main.c",
        "else if (granted && request.op == PB_OP_BIND)",
        "else if (granted)",
        PROTOCOL + "test_check_binds_nothing",
    ),
    Mutant(
        "main.c",
        "        answer.reply.error = EACCES;",
        "        answer.reply.error = 0;",
        PROTOCOL + "test_refused_binds_nothing",
    ),
    Mutant("main.c", "    answer.reply.cause = cause;", "", PROTOCOL + "test_cause_of_a_refusal"),
    # caps.c: what the process keeps.
    Mutant(
        "caps.c",
        "prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);",
        "prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);",
        PROCESS + "test_rights_while_it_waits",
    ),
    Mutant(
        "caps.c",
        "    setrlimit(RLIMIT_CORE, &no_core);",
        "    (void)no_core;",
        PROCESS + "test_rights_while_it_waits",
    ),
    Mutant(
        "caps.c", "    sigaction(SIGALRM, &dfl, NULL);", "", PROCESS + "test_gives_up_by_itself"
    ),
    Mutant("caps.c", "    sigaction(SIGTERM, &dfl, NULL);", "", PROCESS + "test_signals_are_reset"),
    Mutant(
        "caps.c",
        "    sigprocmask(SIG_SETMASK, &none, NULL);",
        "    (void)none;",
        PROCESS + "test_blocked_signals",
    ),
    Mutant("caps.c", "    alarm(GIVE_UP_S);", "", PROCESS + "test_gives_up_by_itself"),
    Mutant(
        "caps.c",
        "syscall(SYS_close_range, 1u, 2u, 0u) != 0",
        "0",
        PROCESS + "test_inherited_descriptors_are_closed",
    ),
    Mutant(
        "caps.c",
        "syscall(SYS_close_range, PB_SOCKET_FD + 1u, ~0u, 0u) != 0",
        "0",
        PROCESS + "test_inherited_descriptors_are_closed",
    ),
    Mutant(
        "caps.c",
        "caps_write(capable ? CAP_BIT : 0, 0) != 0",
        "0",
        PROCESS + "test_root_keeps_one_capability_too",
    ),
    Mutant(
        "caps.c",
        "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0",
        "0",
        PROCESS + "test_rights_while_it_waits",
    ),
    Mutant(
        "caps.c",
        "caps_write(capable ? CAP_BIT : 0, 0)",
        "caps_write(capable ? CAP_BIT : 0, capable ? CAP_BIT : 0)",
        PROCESS + "test_rights_while_it_waits",
    ),
    Mutant("caps.c", "caps_write(CAP_BIT, CAP_BIT) != 0", "0", PROTOCOL + "test_bind"),
    Mutant("caps.c", "caps_write(0, 0) != 0", "0", FUZZ),
    Mutant(
        "caps.c",
        "bind(fd, addr, len) == 0 ? 0 : errno",
        "bind(fd, addr, len) == 0 ? 0 : 0",
        PROTOCOL + "test_kernel_errors_pass",
    ),
    # socket.c: which sockets.
    Mutant(
        "socket.c", "(domain != AF_INET && domain != AF_INET6)", "0", PROTOCOL + "test_unserved"
    ),
    Mutant(
        "socket.c",
        "type != (*protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM)",
        "0",
        PROCESS + "test_raw_socket_with_a_false_name",
    ),
    Mutant("socket.c", "    if (domain != family)", "    if (0)", PROTOCOL + "test_unserved"),
    Mutant(
        "socket.c",
        "    return netns_check(fd, cause);",
        "    return (void)netns_check, PB_REASON_GRANTED;",
        PROCESS + "test_socket_of_another_namespace",
    ),
    Mutant("socket.c", "theirs == ours ?", "1 ?", PROCESS + "test_socket_of_another_namespace"),
    Mutant(
        "socket.c",
        "    if (!known)",
        "    if (0)",
        "tests/faults/test_helper_faults.py::test_unknown_namespace",
    ),
    Mutant(
        "socket.c",
        ".sin6_scope_id = request->scope_id",
        ".sin6_scope_id = 0",
        PROCESS + "test_link_local_scope_reaches_the_kernel",
    ),
    Mutant("socket.c", ".sin6_flowinfo = request->flowinfo,", ".sin6_flowinfo = 0,", FUZZ),
    Mutant(
        "socket.c",
        "        reply->error = reply->cause = error;",
        "        reply->cause = error;",
        PROTOCOL + "test_kernel_errors_pass",
    ),
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
    Mutant("rules.c", "!S_ISDIR(st.st_mode) || ", "", RULES + "test_unsafe_folders"),
    Mutant(
        "rules.c",
        'bool safe = directory_is_safe(w, AT_FDCWD, "/", "");',
        "bool safe = true;",
        PROCESS + "test_root_folder_must_be_roots",
    ),
    Mutant(
        "rules.c",
        'safe = directory_is_safe(w, AT_FDCWD, path, "");',
        "safe = safe && 1;",
        RULES + "test_unsafe_folders",
    ),
    Mutant(
        "rules.c",
        "safe = w->answer->reply.reason == PB_REASON_CONFIG_MISSING; /* as if empty */",
        "safe = true;",
        RULES + "test_unsafe_folders",
    ),
    Mutant(
        "rules.c",
        "safe = w->answer->reply.reason == PB_REASON_CONFIG_MISSING; /* as if empty */",
        "safe = false;",
        RULES + "test_missing_folders",
    ),
    Mutant(
        "rules.c",
        "        if (errno != ENOENT)\n",
        "        if (0)\n",
        RULES + "test_unsearchable_folder",
    ),
    Mutant(
        "rules.c",
        "    if (!S_ISREG(st.st_mode))\n        return decide(w, name, PB_REASON_FLAG_KIND",
        "    if (0)\n        return decide(w, name, PB_REASON_FLAG_KIND",
        RULES + "test_flag_must_be_regular",
    ),
    Mutant("rules.c", "name, X_OK, 0) == 0", "name, F_OK, 0) == 0", RULES + "test_flag_modes"),
    Mutant("rules.c", "name, X_OK, 0) == 0", "name, R_OK, 0) == 0", RULES + "test_flag_modes"),
    Mutant("rules.c", "name, X_OK, 0) == 0", "name, X_OK, 0) != 0", RULES + "test_flag_modes"),
    Mutant("rules.c", "q->port >= 512", "q->port > 512", RULES + "test_reserved_mark"),
    Mutant("rules.c", "q->port <= 1023", "q->port < 1023", RULES + "test_reserved_mark"),
    Mutant("rules.c", "q->port <= 1023", "1", RULES + "test_reserved_mark"),
    Mutant("rules.c", "outcome == GO_ON && form < 6", "form < 6", RULES + "test_flag_modes"),
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
    Mutant("rules.c", "        if (fault) {", "        if (0) {", RULES + "test_broken_line"),
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
    Mutant(
        "rules.c",
        'rules_step(w, "byuser", getuid())',
        'rules_step(w, "byuser", geteuid() + 1)',
        RULES + "test_rule_lines",
    ),
    Mutant(
        "rules.c",
        "for (int i = -1; outcome",
        "for (int i = 0; outcome",
        RULES + "test_nothing_grants",
    ),
    Mutant("rules.c", "i < count; i++", "i < count - 1; i++", RULES + "test_user_then_groups"),
    Mutant("rules.c", "outcome == GO_ON && i < count", "i < count", FUZZ),
    Mutant(
        "rules.c",
        'return outcome == GO_ON ? decide(w, "", PB_REASON_NO_RULE, 0, 0) : outcome;',
        "return outcome == GO_ON ? GRANT : outcome;",
        RULES + "test_both_wildcards",
    ),
    Mutant(
        "rules.c",
        "    if (outcome == GO_ON)\n        outcome = rule_files(w);",
        "    if (outcome != GRANT)\n        outcome = rule_files(w);",
        RULES + "test_flag_modes",
    ),
    Mutant(
        "rules.c",
        "memcmp(q->addr, mapped, sizeof mapped) == 0",
        "0",
        RULES + "test_mapped_is_judged_as_ipv4",
    ),
    Mutant(
        "rules.c",
        "if (!open_config(&w) || judge(&w) != GRANT)",
        "open_config(&w);\n    if (judge(&w) != GRANT)",
        RULES + "test_unsafe_folders",
    ),
    Mutant("rules.c", "        judge(&w);\n    }", "    }", RULES + "test_both_wildcards"),
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
    Mutant(
        "main.c",
        "    memset(request, 0, sizeof *request);",
        "",
        "a short message is refused by its length",
    ),
]
