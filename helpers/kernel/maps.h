/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * The maps, and what is kept between the steps of one bind.
 */
#ifndef PYBIND_MAPS_H
#define PYBIND_MAPS_H

#define INNER(kind, key_type, value_type, flags) \
    struct { \
        __uint(type, kind); \
        __uint(max_entries, 1); \
        __uint(map_flags, flags); \
        __uint(key_size, sizeof(key_type)); \
        __uint(value_size, sizeof(value_type)); \
    }

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct control);
} control SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, SLOTS + 1); /* the last: pybindd stores to it only to wait (program.py) */
    __type(key, __u32);
    __array(values, INNER(BPF_MAP_TYPE_HASH, struct name, struct file, 0));
} names SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, SLOTS);
    __type(key, __u32);
    __array(values, INNER(BPF_MAP_TYPE_ARRAY, __u32, union detail, BPF_F_INNER_MAP));
} details SEC(".maps");

/* The address that bind granted: post_bind must find exactly this address. */
struct note {
    __u64 addr_high, addr_low;
    __u32 file;
    __u32 table;      /* struct control's number of the table that granted */
    __u32 uid, owner; /* struct caller's at the judgement, for the log */
    __u16 port;
    __u8 family;
    __u8 foreign;
};

/* Where a thread leaves its note, from bind to post_bind. */
struct place {
    __u64 thread; /* the note's owner: process and thread id; 0: free */
    __u64 socket; /* cookie */
    struct note note;
};

/* A thread's place is its thread id modulo PLACES.  A granted bind that fails leaves the
 * place taken until the same thread binds again.  So one user can take them all. */
#define PLACES 4096

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, PLACES);
    __type(key, __u32);
    __type(value, struct place);
} places SEC(".maps");

/* The places of threads whose place in the array is taken: one for each socket. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct place);
} kept_places SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 20);
} records SEC(".maps");

/* A user's share of the log, apart for grants and refusals. */
struct whose {
    __u32 uid; /* struct caller's owner */
    __u32 granted; /* 1: grants; 0: refusals */
};

struct budget {
    __u64 since_ns; /* start of the current second, CLOCK_MONOTONIC_COARSE */
    __u64 used, lost; /* records of this second; records dropped and not yet reported */
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct whose);
    __type(value, struct budget);
} budgets SEC(".maps");

#endif
