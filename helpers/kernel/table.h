/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * The structs that pybindd(8) and the programs in the kernel share.
 * pybind/kernel/layout.py has the same structs in Python; a test compares the two.
 *
 * A table holds the permission files of one moment, in two maps: `names` and
 * `details`.  A table in force never changes.  pybindd fills the slot that is not in
 * force, then names this slot in `control`.  A program reads the number of the slot
 * once for each bind, so that one table answers all questions of that bind.
 */
#ifndef PYBIND_TABLE_H
#define PYBIND_TABLE_H

#define SLOTS 2

/* Only pybindd changes this, in place: each member by one aligned store. */
struct control {
    __u64 lease_until_ns; /* CLOCK_MONOTONIC; from this time on nothing is granted */
    __u64 netns_cookie;   /* of pybindd's network namespace */
    __u32 userns_inum;    /* of pybindd's user namespace */
    __u32 slot;
    __u32 folders[SLOTS]; /* 1 << enum folder for each that is not empty */
    __u32 left[SLOTS];    /* 1: the helper decides every bind, not this table */
    __u32 ports[SLOTS];   /* from this port on, no file grants and no bind needs a grant */
    __u32 numbers[SLOTS]; /* of the table; each table has another */
};

enum folder { BYPORT, BYADDR, BYUSER, BYGROUP };
enum protocol { BOTH, TCP, UDP };

/* A permission file's name in numbers. */
struct name {
    __u64 addr_high, addr_low; /* byaddr: host byte order; IPv4 in addr_low */
    __u32 number;              /* port, uid or gid */
    __u8 folder;               /* enum folder */
    __u8 family;               /* byaddr: 4 or 6, else 0 */
    __u8 protocol;             /* byport, byaddr: enum protocol, else 0 */
    __u8 reserved;             /* 1: the name starts with '!' */
};

/* JUDGED: owner, mode and access control list decide.  REFUSES: every caller is
 * refused.  LEFT: the table cannot hold this file exactly, so the programs grant
 * nothing and the helper decides. */
enum state { JUDGED, REFUSES, LEFT };

#define READABLE 4 /* permission bits as in mode_t */
#define EXECUTABLE 1

struct file {
    __u32 ident; /* pybindd's number for this name, for the log */
    __u32 uid, gid;
    __u8 state;                /* enum state */
    __u8 owner, group, others; /* permission bits; group: after the ACL's mask */
    __u8 unanimous;            /* bits that owner, group, others and every entry have */
    __u8 users;                /* bits that every named user has; 7 without named users */
    __u16 entry_count; /* of the access control list */
    __u32 start;       /* index in `details`: first the entries, then the lines */
    __u32 line_count;
};

/* A named user or group of the access control list. */
struct entry {
    __u32 ident;
    __u8 is_group;
    __u8 permissions; /* after the ACL's mask */
};

/* A rule line. */
struct line {
    __u64 min_high, min_low, max_high, max_low; /* host byte order */
    __u16 port_min, port_max;
    __u8 family;   /* 4, 6, or 0: any */
    __u8 protocol; /* enum protocol */
};

union detail {
    struct entry entry;
    struct line line;
};

/* What the programs report to pybindd, for the log. */
enum event { GRANTED, REFUSED, REFUSED_LEFT, REFUSED_IDS, REFUSED_CHANGED, REFUSED_LATE };

struct record {
    __u64 addr_high, addr_low; /* host byte order; IPv4 in addr_low */
    __u64 lost;  /* records of this user that were dropped before this one */
    __u32 uid, tgid;
    __u32 file;  /* struct file's ident, or 0: no file decided */
    __u16 port;  /* host byte order */
    __u8 family; /* 4 or 6 */
    __u8 udp;
    __u8 event;   /* enum event */
    __u8 foreign; /* 1: in a user namespace other than pybindd's */
    __u8 zero[6];
    char comm[16];
};

#endif
