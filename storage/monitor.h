/* The release-after-commit monitor: which turn of each owner is durable, as the writer itself knows
 * it, independent of the turn's own bookkeeping. It is in every build, so that what is tested is
 * what ships, and on unless somebody turns it off: parleyd does, when PARLEY_MONITOR is not in its
 * environment, and what measures speed. Off, it costs a look at a flag.
 *
 * Who lets bytes out (a link, a response) asks monitor_is_durable() with the number of the turn
 * that made them. Turn numbers rise within an owner for the life of the process, also when the
 * account is reopened. Any thread; behind a lock of its own. */
#pragma once
#include <stdatomic.h>

#include "storage/batch.h"

extern atomic_bool monitor_on;
static inline bool monitor_is_on(void)
{
    return atomic_load_explicit(&monitor_on, memory_order_relaxed);
}
/* Before the writer starts. */
void monitor_switch(bool on);

/* The newest durable turn of the owner, 0 when none is. */
uint64_t monitor_durable(uint64_t owner);
/* Called by the writer after the commit: the batch's turn is durable, and so are its events. */
void monitor_note_batch(const struct batch *b);
void monitor_note(uint64_t owner, uint64_t turn);

/* False, and counted, when `turn` is above the durable one. Turn 0 wrote nothing. `what` names what
 * leaves, for the journal. Owner 0: a reply that waited for a batch of no account; the writer
 * numbers those when they are posted. */
bool monitor_is_durable(uint64_t owner, uint64_t turn, const char *what);
/* The same for an event that a stream is shown. */
bool monitor_is_shown(uint64_t tenant, uint64_t seq);
/* A reader begins on what this commit left; for the journal. */
void monitor_reads(uint64_t commit);
/* How often one of the two said no. */
uint64_t monitor_violations(void);
/* Forgets all, and ends the journal. */
void monitor_reset(void);

/* The journal of tests/crash/powerloss: what LMDB wrote (from its preload), what the writer called
 * durable and what left, in the order of a run. Everything appends to one file, a record at a
 * time. */
enum monitor_record_type {
    MONITOR_WRITE = 1,    /* a: offset; payload: bytes of the data file */
    MONITOR_BARRIER,      /* a flush has returned */
    MONITOR_META,         /* a: offset; payload: one write through the O_DSYNC descriptor … */
    MONITOR_META_DURABLE, /* … that has returned */
    MONITOR_TURN,    /* a: owner, b: turn; payload: each row it wrote, as operation (1), database
                      * (1), length of the key (2), CRC of the record (4), key */
    MONITOR_RELEASE, /* a: owner, b: turn; payload: what of it leaves, in words */
    MONITOR_SHOWN,   /* a: tenant, b: number of an event that a stream is shown */
    MONITOR_READ,    /* a: commit, as LMDB numbers them, that answers are read from */
    MONITOR_START,   /* another process goes on; turns are numbered from 1 again */
};
struct monitor_record {
    uint32_t type, len;
    uint64_t a, b;
};
/* Appends to this file from now on. */
err_t monitor_journal(const char *path) MUST_CHECK;
