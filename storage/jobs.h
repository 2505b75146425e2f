/* Jobs: work larger than its input (history blobs, purges, folding), as a durable row with a
 * position, worked off in turns of at most BATCH_SLICE bytes. The row and what it stands for are
 * one batch: once it is durable its receipt may leave. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

struct db_job {
    uint32_t number; /* key; chosen by who puts it */
    uint16_t kind;   /* the server's enum */
    uint32_t attempts;
    int64_t created_ms, due_ms;
    struct slice position; /* where to go on; opaque to storage */
    struct slice input;    /* what to do; opaque to storage */
};

/* `scope.account` 0: a job of the tenant. */
void db_job_put(struct batch *b, struct scope scope, const struct db_job *job);
void db_job_delete(struct batch *b, struct scope scope, uint32_t number);
void db_jobs(struct range *r, struct view *v, struct scope scope);
bool db_job_next(struct range *r, struct db_job *out);
