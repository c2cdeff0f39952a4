/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * What pybindd(8) and the programs in the kernel share.  pybind/kernel/layout.py
 * has the same structs in Python; a test holds the two together.
 *
 * A table says what the permission files say at one moment.  It is two maps,
 * `names` and `details`, and is never changed once it is in force: pybindd fills
 * the slot that is not in use and then says in `control` that this one counts.
 * A program reads the number of the slot once for each bind, and passes it on.
 */
#ifndef PYBIND_TABLE_H
#define PYBIND_TABLE_H

#define SLOTS 2

/* Changed by pybindd alone, in place: each member is one aligned store. */
struct control {
    __u64 lease_until_ns; /* CLOCK_MONOTONIC; nothing is granted from then on */
    __u64 netns_cookie;   /* of pybindd's network namespace */
    __u32 userns_inum;    /* of pybindd's user namespace */
    __u32 slot;
    __u32 folders[SLOTS]; /* 1 << enum folder for each that is not empty */
    __u32 left[SLOTS];    /* 1: all of this table is left to the helper */
    __u32 ports[SLOTS];   /* from this port on, no file grants and no bind needs a grant */
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

/* JUDGED: by owner, mode and list.  REFUSES: whoever comes to it.  LEFT: the
 * table cannot hold it exactly, so nothing is granted and the helper decides. */
enum state { JUDGED, REFUSES, LEFT };

#define READABLE 4 /* permission bits as in mode_t */
#define EXECUTABLE 1

struct file {
    __u32 ident; /* pybindd's number for this name, for the log */
    __u32 uid, gid;
    __u8 state;                /* enum state */
    __u8 owner, group, others; /* permission bits; group: with the mask applied */
    __u8 unanimous;            /* permission bits that owner, group, others and each entry have */
    __u8 users;                /* permission bits that each named user has */
    __u16 entry_count; /* of the access control list */
    __u32 start;       /* in `details`: first the entries, then the lines */
    __u32 line_count;
};

/* A named user or group of the access control list. */
struct entry {
    __u32 ident;
    __u8 is_group;
    __u8 permissions; /* with the mask applied */
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

/* What is reported to pybindd for its log. */
enum event { GRANTED, REFUSED, REFUSED_LEFT, REFUSED_IDS, REFUSED_CHANGED };

struct record {
    __u64 addr_high, addr_low; /* host byte order; IPv4 in addr_low */
    __u64 lost;  /* records of this user that the limit kept back before this one */
    __u32 uid, tgid;
    __u32 file;  /* struct file's ident, 0 where no file decided */
    __u16 port;  /* host byte order */
    __u8 family; /* 4 or 6 */
    __u8 udp;
    __u8 event;   /* enum event */
    __u8 foreign; /* 1: in a user namespace other than pybindd's */
    __u8 zero[6];
    char comm[16];
};

#endif
