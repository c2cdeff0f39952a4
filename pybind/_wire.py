# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire format of pybind-helper: made by tools/gen_wire.py from protocol.h.

Do not edit. Formats are for the struct module, in host byte order; ports and
addresses inside are in network byte order, as the header says.
"""

MAGIC = 0x64627970
VERSION = 1
REPLY_FD = 0
SOCKET_FD = 3
NAME_MAX = 64
TRACE_MAX = 160
FLAG_CAPABLE = 1
FLAG_V4_HALF = 2
FLAG_TRUNCATED = 4
OP_CHECK = 2
OP_BIND = 4
REQUEST_FORMAT = "=IHHHHHHII16s"  # magic, version, op, family, protocol, port, zero, flowinfo, scope_id, addr
REPLY_FORMAT = "=IHHiiIHH64s"  # magic, version, reason, error, cause, line, fault, flags, name
STEP_FORMAT = "=HHI64s"  # result, v4_half, line, name

REASON_GRANTED = 0
REASON_MALFORMED = 1
REASON_VERSION = 2
REASON_IDS = 3
REASON_SOCKET_KIND = 4
REASON_SOCKET_FAMILY = 5
REASON_NETNS = 6
REASON_NETNS_UNKNOWN = 7
REASON_PORT_ZERO = 8
REASON_CONFIG_MISSING = 9
REASON_CONFIG_UNSAFE = 10
REASON_CONFIG_ERROR = 11
REASON_FLAG_DENIED = 12
REASON_FLAG_KIND = 13
REASON_FLAG_ERROR = 14
REASON_RULES_UNSAFE = 15
REASON_RULES_UNREADABLE = 16
REASON_RULES_ERROR = 17
REASON_RULES_TOO_BIG = 18
REASON_RULES_BROKEN = 19
REASON_NO_RULE = 20
REASON_NO_CAPABILITY = 21
REASON_KERNEL = 22
REASON_TEXTS = {
    0: "granted",
    1: "malformed request",
    2: "the helper is of another version",
    3: "real and effective ids differ",
    4: "not a TCP, UDP or MPTCP socket",
    5: "address family is not the socket's",
    6: "socket of another network namespace",
    7: "network namespaces cannot be told apart (before Linux 5.14, or AF_UNIX is denied)",
    8: "port 0 is never privileged",
    9: "the permission directory does not exist",
    10: "a permission directory is not safely root's",
    11: "a permission directory could not be examined",
    12: "permission file is not executable for this user",
    13: "permission file is not a regular file",
    14: "permission file could not be examined",
    15: "rule file is not safely root's",
    16: "rule file is not readable by this user",
    17: "rule file could not be read",
    18: "rule file is larger than 1 MiB",
    19: "rule file has a broken line",
    20: "no permission file grants it",
    21: "granted, but the helper has no CAP_NET_BIND_SERVICE",
    22: "granted, but bind(2) itself failed",
}

FAULT_NONE = 0
FAULT_TOO_LONG = 1
FAULT_BYTE = 2
FAULT_SYNTAX = 3
FAULT_ADDRESS = 4
FAULT_LENGTH = 5
FAULT_HOST_BITS = 6
FAULT_ORDER = 7
FAULT_PORT = 8
FAULT_PROTOCOL = 9
FAULT_TEXTS = {
    0: "nothing",
    1: "line is longer than 255 bytes",
    2: "byte that no rule contains (NUL, carriage return, control or non-ASCII byte)",
    3: "not of the form ADDRESS[-ADDRESS|/LENGTH],PORT[-PORT][/PROTOCOL]",
    4: "not an IPv4 or IPv6 address",
    5: "prefix length out of range",
    6: "address has bits set beyond its prefix length",
    7: "range whose minimum is above its maximum, or of two families",
    8: "port number out of range",
    9: "protocol is neither tcp nor udp",
}

WORD_PORT = 1
WORD_PROTOCOL = 2
WORD_ADDRESS = 3
WORD_NO_GRANT = 4
WORD_BUSY = 5
WORD_NO_NEW_PRIVS = 6
WORD_SECCOMP = 7
WORD_USER_NAMESPACE = 8
WORD_NO_HELPER = 9
WORD_TEXTS = {
    1: "not among the ports of --port; to serve it, add: --port ",
    2: "--port names this port for another protocol; to serve it, add: --port ",
    3: "--port names this port for another address; to serve it, add: --port ",
    4: "no permission file grants it; to grant it: sudo pybindctl grant ",
    5: "granted, and the port is in use; to see by whom: sudo ss -Hltunp sport = :",
    6: "this process has set no_new_privs, so a helper gains nothing; to serve it all the same: pybind --mode supervise",
    7: "a seccomp filter that root has set keeps this process from starting the helper; start the program where that filter is not",
    8: "this process is in a user namespace, where no grant counts; to serve it, started outside: pybind --mode supervise",
    9: "the helper is not in the root directory of this process; where the program changed that, this serves it: pybind --mode supervise",
}

STEP_ABSENT = 0
STEP_GRANTS = 1
STEP_NO_MATCH = 2
STEP_REFUSES = 3
STEP_TEXTS = {
    0: "does not exist",
    1: "grants",
    2: "no line covers it",
    3: "refuses",
}
