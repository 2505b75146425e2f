/* What the process does by itself: cutting the event log, dropping old claims and sessions, purging
 * what was deleted, and probing a full disk. In small batches of its own (owner 0), one at a time,
 * on one worker, so that no commit keeps the accounts waiting. */
#pragma once
#include <stdint.h>

struct server;
struct upkeep;

/* Kinds of db_job of a tenant (scope.account 0). Numbers stay what they are for ever. */
enum job_kind {
    JOB_PURGE_ACCOUNT = 1, /* input: account number, 4 bytes; which is the job's number as well */
};
enum {
    JOB_PURGE_AFTER_MS = 60 * 1000, /* the account has left its worker by then */
    UPKEEP_EVERY_MS = 30 * 1000,
    UPKEEP_PROBE_MS = 1000,
};

/* Main thread, before the workers start and after they were joined. */
struct upkeep *upkeep_new(struct server *s);
void upkeep_start(struct upkeep *u);
/* Main worker: no new batch; `done` there when the last one is durable. */
void upkeep_stop(struct upkeep *u, void (*done)(void *arg), void *arg);
void upkeep_free(struct upkeep *u);
