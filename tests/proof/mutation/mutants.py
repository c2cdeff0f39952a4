# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put into the helper by hand, and with them those put into pybindd's programs."""

from mutant import FUZZ, PROCESS, PROTOCOL, RULES, Mutant
from mutants_kernel import KERNEL_EQUIVALENT, KERNEL_MUTANTS
from mutants_text import TEXT_MUTANTS

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
    Mutant("main.c", "MSG_NOSIGNAL | MSG_DONTWAIT", "MSG_NOSIGNAL", FUZZ),
    Mutant("main.c", "MSG_NOSIGNAL | MSG_DONTWAIT", "MSG_DONTWAIT", FUZZ),
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
    Mutant("caps.c", "setitimer(which, &off, NULL);", ";", FUZZ),
    Mutant("caps.c", "which <= ITIMER_PROF", "which < ITIMER_PROF", FUZZ),
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
        "tests/proof/faults/test_helper_faults.py::test_unknown_namespace",
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
    *TEXT_MUTANTS,
    *KERNEL_MUTANTS,
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
    *KERNEL_EQUIVALENT,
]
