# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put into pybindd's programs in the kernel by hand."""

from mutants import KERNEL, Mutant

CALLERS = "tests/kernel/test_hostile_callers.py::test_case_"
SOCKETS = "tests/kernel/test_hostile_sockets.py::test_case_77_"
OTHERS = "tests/kernel/test_hostile_others.py::test_case_78_"
DAEMON = "tests/kernel/test_hostile_daemon.py::test_case_"
IN_FORCE = "tests/kernel/test_in_force.py::test_"

MUTANTS = [
    # caller.h: who binds.
    Mutant(
        "kernel/caller.h",
        "c->uid != MEMBER(__u32, copy, euid) || ",
        "",
        CALLERS + "75_two_identities",
    ),
    Mutant(
        "kernel/caller.h",
        " || c->gid != MEMBER(__u32, copy, egid)",
        "",
        CALLERS + "75_two_identities",
    ),
    Mutant(
        "kernel/caller.h",
        "c->foreign = inum != userns_inum;",
        "c->foreign = 0;",
        CALLERS + "76_refusals_are_not_undone",
    ),
    Mutant(
        "kernel/caller.h",
        "!c->foreign && has_capability(copy)",
        "has_capability(copy)",
        CALLERS + "76_own_user_namespace",
    ),
    Mutant(
        "kernel/caller.h",
        "!c->foreign && has_capability(copy)",
        "0",
        CALLERS + "75_with_the_capability",
    ),
    Mutant("kernel/caller.h", "c->owner = o.owner;", "", DAEMON + "79_many_ids_of_one"),
    Mutant(
        "kernel/caller.h",
        "    if (c->gid == gid)\n        return MEMBER;\n",
        "",
        IN_FORCE + "grant_and_revoke",
    ),
    Mutant(
        "kernel/caller.h",
        "#define GROUP_STEPS 17",
        "#define GROUP_STEPS 15",
        CALLERS + "75_most_groups",
    ),
    # rules.h: access(2).
    Mutant("kernel/rules.h", "if (c->uid == f->uid)", "if (0)", CALLERS + "76_own_user_namespace"),
    Mutant("kernel/rules.h", "(f->owner & wanted) == wanted", "true", KERNEL),
    Mutant("kernel/rules.h", "(d->entry.permissions & l->wanted) == l->wanted", "true", KERNEL),
    Mutant(
        "kernel/rules.h",
        "l->named = d->entry.ident == l->caller.uid;",
        "l->named = 0;",
        IN_FORCE + "change[setfacl]",
    ),
    Mutant("kernel/rules.h", "l->matched |= member == MEMBER;", "", CALLERS + "75_most_groups"),
    Mutant(
        "kernel/rules.h",
        "    if (l.matched)\n        return false;\n",
        "",
        CALLERS + "75_most_groups",
    ),
    Mutant(
        "kernel/rules.h",
        "!c->foreign || (f->users & wanted) == wanted",
        "true",
        CALLERS + "76_refusals_are_not_undone",
    ),
    Mutant(
        "kernel/rules.h",
        "member == MEMBER && by_group && (f->group",
        "member == MEMBER && (f->group",
        CALLERS + "76_refusals_are_not_undone",
    ),
    Mutant("kernel/rules.h", "(f->group & wanted) == wanted", "true", KERNEL),
    Mutant(
        "kernel/rules.h",
        "if (c->foreign && !(wanted == READABLE && f->unanimous & READABLE))",
        "if (0)",
        CALLERS + "76_own_user_namespace",
    ),
    Mutant("kernel/rules.h", "(f->others & wanted) == wanted", "true", KERNEL),
    # rules.h: the order, and what covers what.
    Mutant("kernel/rules.h", "q->port >= 512", "q->port > 512", KERNEL),
    Mutant("kernel/rules.h", "q->port <= 1023", "1", SOCKETS + "privileged_by_sysctl"),
    Mutant("kernel/rules.h", "        name.addr_low = q->addr_low;\n", "", KERNEL),
    Mutant(
        "kernel/rules.h",
        "if (outcome == GO_ON)\n            outcome = flag_step(w, BYPORT, BOTH);",
        "outcome = flag_step(w, BYPORT, BOTH);",
        KERNEL,
    ),
    Mutant("kernel/rules.h", "outcome == GO_ON && w->folders", "w->folders", KERNEL),
    Mutant("kernel/rules.h", "q->port <= l->port_max", "true", KERNEL),
    Mutant(
        "kernel/rules.h",
        "(l->protocol == BOTH || l->protocol == q->protocol)",
        "true",
        IN_FORCE + "other_user",
    ),
    Mutant("kernel/rules.h", "l->family == q->family &&", "", SOCKETS + "wildcards"),
    Mutant(
        "kernel/rules.h",
        "not_above(q->addr_high, q->addr_low, l->max_high, l->max_low)",
        "true",
        IN_FORCE + "other_user",
    ),
    Mutant("kernel/rules.h", "decide(w, f, true) : GO_ON", "decide(w, f, true) : REFUSE", KERNEL),
    Mutant("kernel/rules.h", "f->state != JUDGED || !permits", "!permits", KERNEL),
    Mutant(
        "kernel/rules.h",
        " || !permits(&w->caller, f, w->slot, READABLE)",
        "",
        CALLERS + "76_refusals_are_not_undone",
    ),
    Mutant(
        "kernel/rules.h",
        "outcome = rules_step(w, BYGROUP, w->caller.gid);",
        "outcome = GO_ON;",
        IN_FORCE + "change[truncate]",
    ),
    Mutant(
        "kernel/rules.h",
        "bpf_loop(w->caller.group_count, group_step, &g, 0);",
        "",
        CALLERS + "75_groups_of_that_moment",
    ),
    Mutant(
        "kernel/rules.h",
        "if (q->family == 4 || q->addr_high || q->addr_low)",
        "if (1)",
        SOCKETS + "wildcards",
    ),
    Mutant(
        "kernel/rules.h",
        "outcome == GO_ON ? rule_files(w) : outcome",
        "outcome",
        IN_FORCE + "change[edit]",
    ),
    # pybind.bpf.c: what is asked about at all.
    Mutant(
        "kernel/pybind.bpf.c",
        "mapped = a == 0 && b == 0 && c == bpf_htonl(0xffff)",
        "mapped = false",
        SOCKETS + "wildcards",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "ctx->user_family == ctx->family &&",
        "",
        SOCKETS + "odd_calls",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "ctx->protocol == IPPROTO_UDP && ctx->type == SOCK_DGRAM",
        "ctx->type == SOCK_DGRAM",
        SOCKETS + "sockets[udplite]",
    ),
    Mutant("kernel/pybind.bpf.c", "q->protocol = tcp ? TCP : UDP;", "q->protocol = TCP;", KERNEL),
    Mutant(
        "kernel/pybind.bpf.c",
        " || !lease_holds(control_now) ||",
        " ||",
        DAEMON + "72_stopped",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "bpf_get_netns_cookie(ctx) != control_now->netns_cookie ||",
        "",
        CALLERS + "76_other_network_namespace",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "if (w->caller.two_fold)",
        "if (0)",
        CALLERS + "75_two_identities",
    ),
    # pybind.bpf.c: the socket has its port.
    Mutant(
        "kernel/pybind.bpf.c",
        "judged.port == w.question.port",
        "true",
        OTHERS + "rewritten[rewrites_port]",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "judged.addr_low == w.question.addr_low",
        "true",
        OTHERS + "rewritten[rewrites_address]",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "REFUSED_CHANGED);\n    return FORBID;",
        "REFUSED_CHANGED);\n    return AS_WITHOUT_US;",
        OTHERS + "rewritten[rewrites_port]",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "c->numbers[slot] == judged->table",
        "c->numbers[slot]",
        IN_FORCE + "case_73_revoked_while_held_up",
    ),
    Mutant(
        "kernel/pybind.bpf.c",
        "return caller_read(&w->caller, c->userns_inum) && grants(c, w, &event);",
        "return event = 0;",
        IN_FORCE + "case_73_granted_anew_while_held_up",
    ),
    # note.h: from bind to post_bind.
    Mutant(
        "kernel/note.h",
        "        give_back(place);\n    if (kept",
        "        ;\n    if (kept",
        SOCKETS + "fails_and_tries_again[free]",
    ),
    Mutant(
        "kernel/note.h",
        "        kept->thread = 0;\n}",
        "        ;\n}",
        SOCKETS + "fails_and_tries_again[taken]",
    ),
    Mutant(
        "kernel/note.h",
        "if (kept && kept->thread == thread)",
        "if (kept)",
        SOCKETS + "note_of_another_thread",
    ),
    Mutant(
        "kernel/note.h",
        "        write_note(&place->note, w);",
        "        ;",
        SOCKETS + "fails_and_tries_again[free]",
    ),
    Mutant(
        "kernel/note.h",
        "    write_note(&kept->note, w);",
        "    ;",
        SOCKETS + "fails_and_tries_again[taken]",
    ),
    Mutant(
        "kernel/note.h",
        "!kept || kept->thread != 0",
        "!kept",
        SOCKETS + "note_of_another_thread",
    ),
    Mutant(
        "kernel/note.h",
        "READ_ONCE(place->thread) == thread &&",
        "READ_ONCE(place->thread) &&",
        OTHERS + "rewritten_with_no_place_for_a_note",
    ),
    Mutant(
        "kernel/note.h",
        "place->socket == bpf_get_socket_cookie(socket)",
        "true",
        "tests/kernel/test_detached.py::test_case_72_detached_after_a_bind_failed",
    ),
    Mutant(
        "kernel/note.h",
        "    if (!kept || kept->thread != thread)",
        "    if (1)",
        OTHERS + "rewritten_with_no_place_for_a_note",
    ),
    Mutant(
        "kernel/note.h",
        "        *taken = place->note;",
        "        *taken = (struct note){0};",
        SOCKETS + "fails_and_tries_again[free]",
    ),
    # report.h: a user's share of the log.
    Mutant(
        "kernel/report.h",
        "budget->used >= RECORDS_A_SECOND",
        "0",
        DAEMON + "79_log_filled_by_one",
    ),
    Mutant("kernel/report.h", ".uid = c->owner", ".uid = c->uid", DAEMON + "79_many_ids_of_one"),
]

# Faults that no run can show, and why.
EQUIVALENT = [
    Mutant(
        "kernel/caller.h",
        "if (c->uid != (__u32)ids || c->gid != ids >> 32)",
        "if (0)",
        "the helper of the kernel reads the same struct cred as we do",
    ),
    Mutant(
        "kernel/caller.h",
        "flags & PF_KTHREAD ||",
        "",
        "a thread of the kernel has root's capabilities, so the kernel asks nobody",
    ),
    Mutant(
        "kernel/rules.h",
        "grants && f->state == JUDGED ? GRANT",
        "grants ? GRANT",
        "a flag file that is not JUDGED has no permission, and a rule file was looked at before",
    ),
]
