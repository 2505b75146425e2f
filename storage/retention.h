/* What grows is cut: the event log by age and size, claims by day, audit and idle sessions by age;
 * and purges of what was deleted. Each call fills one batch of at most BATCH_SLICE bytes and says
 * whether there is more; the next call comes when that batch is durable. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

struct retention {
    int64_t event_age_ms; /* 0: no bound by age */
    uint64_t event_bytes; /* per tenant, 0: no bound by size */
    int64_t audit_age_ms;
    int64_t session_idle_ms;
};

err_t retention_step(struct batch *b, struct view *v, uint32_t tenant,
                     const struct retention *limits, int64_t now_ms, bool *out_more) MUST_CHECK;

/* Removes every row under the prefix: an account's data (key_of_scope), one chat
 * (key_of_kind(scope, peer, KIND_message)), a tenant (key_of_tenant, database by database). */
err_t purge_step(struct batch *b, struct view *v, enum db db, struct slice prefix,
                 bool *out_more) MUST_CHECK;
