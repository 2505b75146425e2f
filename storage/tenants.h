/* Tenants, and the counters that number things across them. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

struct db_tenant {
    uint32_t tenant; /* key */
    uint64_t secret; /* of its ten_ id */
    int64_t created_ms;
    bool deleted;                /* being purged */
    struct slice name, settings; /* settings: opaque to storage (quotas, guardrails, webhooks) */
};

void db_tenant_put(struct batch *b, const struct db_tenant *t);
void db_tenant_delete(struct batch *b, uint32_t tenant);
/* NOT_FOUND when there is none. */
err_t db_tenant_get(struct view *v, uint32_t tenant, struct db_tenant *out) MUST_CHECK;
/* All of them: range_init, then while (db_tenant_next(…)). */
void db_tenants(struct range *r, struct view *v);
bool db_tenant_next(struct range *r, struct db_tenant *out);

/* Counters ("tenant", "account", "key", …): the last number given, 0 when none was. It is read once
 * at start and put in the batch of the new row, so that a number is never given twice, not even
 * after its row is gone.
 *
 * Batches of two threads are committed in any order, so each `giver` of numbers (a worker's index)
 * has a row of its own, which only it puts, rising; the highest of them counts. Who gives numbers
 * under one lock and posts under it too is giver 0. */
err_t db_counter_find(struct view *v, const char *name, uint64_t *out) MUST_CHECK;
void db_counter_put(struct batch *b, const char *name, unsigned giver, uint64_t value);
