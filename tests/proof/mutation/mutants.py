# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put in by hand: what an entry is, and those in how the helper meets its caller.

A fault replaces one piece of text, which must occur exactly once in its file. The entry
names the test that notices the fault. The name is a node of pytest, or one of three words.
COMPAT is the comparison with authbind's helper and the model. KERNEL is the comparison of
the kernel with helper and model. FUZZ stands for the kept inputs of the fuzz targets.

The entries here are about requests, capabilities and sockets. mutants_rules.py has those in
the helper's reading of files, mutants_kernel.py those in pybindd's programs, and
mutants_pybindctl.py those in pybindctl.
"""

from typing import NamedTuple

COMPAT = "compat"
FUZZ = "fuzz"
KERNEL = "kernel"
PROCESS = "tests/helper/test_process.py::"
PROTOCOL = "tests/helper/test_protocol.py::"
RULES = "tests/helper/test_rules.py::"


class Mutant(NamedTuple):
    """A fault: in FILE OLD becomes NEW. killer: the test that notices.

    file: of helpers/helper, kernel/NAME of helpers/kernel, or NAME.py of pybind.
    """

    file: str
    old: str
    new: str
    killer: str

    @property
    def path(self) -> str:
        """Return the file, from the repository on."""
        if self.file.endswith(".py"):
            return f"pybind/{self.file}"
        return f"helpers/{self.file if self.in_kernel else f'helper/{self.file}'}"

    @property
    def in_kernel(self) -> bool:
        """Tell whether it is a fault of pybindd's programs."""
        return self.file.startswith("kernel/")


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
]

# Faults that no run can show, and why.
EQUIVALENT = [
    Mutant(
        "main.c",
        "    memset(request, 0, sizeof *request);",
        "",
        "a short message is refused by its length",
    ),
]
