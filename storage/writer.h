/* The writer: one thread, group commit, no linger.
 *
 * It takes everything that is queued, applies it in one transaction, numbers the events per
 * tenant, commits (LMDB's default sync: durable) and then, in this order:
 *   1. notes the durable turn of each owner (monitor.h),
 *   2. hands the commit's events, in log order, and its notices to `on_events` (the hub),
 *   3. calls each batch's `done`, in the order of posting.
 * While one commit runs the next gathers by itself.
 *
 * Failure. No space (disk, quota, map, transaction; a disk with less than 16 MB counts as full):
 * the transaction is aborted and its batches are applied one at a time, so that only the guilty
 * fail. A batch that fails takes all later batches of its owner and epoch with it, queued or still
 * to come, because they were computed on top of it; the account closes, reopens from disk and posts
 * with the next epoch. Owner 0 fails alone. Any other error of a commit goes to `on_fatal`, which
 * must not return in production: after a failed flush the page cache may call a page clean that
 * never reached the disk.
 *
 * Posting never waits. tests/flow calls writer_step() on its own thread instead of starting one. */
#pragma once
#include <stdatomic.h>

#include "storage/batch.h"
#include "storage/faults.h"

struct writer;

/* One event with its number, or a notice. */
struct log_event {
    uint32_t tenant;
    uint64_t seq; /* 0: a notice */
    struct event_head head;
    struct slice bytes; /* lives as long as the log_events */
};

/* The events and notices of one commit, shared by who holds a reference. Any thread. */
struct log_events {
    atomic_uint refs;
    size_t count;
    struct log_event *items; /* in log order: numbers rise within each tenant */
};
struct log_events *log_events_ref(struct log_events *events);
void log_events_unref(struct log_events *events);

struct writer_options {
    struct store *store;
    /* A commit's events and notices, on the writer's thread; never an empty one. Borrowed: take a
     * reference to keep it. May be NULL. */
    void (*on_events)(void *context, struct log_events *events);
    /* The error that ends the process, with the trail set; on the writer's thread. NULL: prints
     * the trail to stderr and aborts. If it returns (tests), the batches fail with STORE_FAILED. */
    void (*on_fatal)(void *context, err_t error);
    void *context;
};

struct writer *writer_new(const struct writer_options *options);
/* Stops the thread if there is one, after what is queued has been committed. */
void writer_free(struct writer *writer);

err_t writer_start(struct writer *writer) MUST_CHECK;
/* Commits what is queued, joins the thread. Nothing may be posted meanwhile. */
void writer_stop(struct writer *writer);

/* Hands the batch over. Any thread; never waits, never fails: the outcome comes through `done`. */
void writer_post(struct writer *writer, struct batch *batch);
/* The loop body: one commit of what is queued now (at most WRITER_COMMIT_BYTES of it).
 * Number of batches finished; 0 when nothing was queued. Not beside a started thread. */
enum { WRITER_COMMIT_BYTES = 8 * 1024 * 1024 };
size_t writer_step(struct writer *writer);

/* Commits one batch at once on the calling thread, without events being handed on: for start-up,
 * migrations, the command line and tests. Not beside a started thread. */
err_t writer_commit(struct writer *writer, struct batch *batch) MUST_CHECK;

/* Any thread. */
struct writer_stats {
    uint64_t commits, batches, failed_batches, events, op_bytes;
    uint64_t commit_us_total, commit_us_max; /* time inside transactions */
    size_t queued;
    bool full; /* the last attempt found no space; cleared by the next commit that succeeds */
    /* Bytes the started thread handed to write calls: pages of the database, and a few that wake
     * the workers. 0 without a thread, or where the kernel does not count. */
    uint64_t written;
};
void writer_stats(struct writer *writer, struct writer_stats *out);
/* True while the last commit found no space. Reads go on; a batch of batch_probe() posted now and
 * then finds out when there is room again, even when no account writes. */
bool writer_is_full(struct writer *writer);
/* A write of 64 KB that changes nothing of interest. */
void batch_probe(struct batch *batch);

/* Failures to provoke, shared with the writer's thread; see faults.def. */
struct faults *writer_faults(struct writer *writer);
