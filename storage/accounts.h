/* Accounts: one small row each, so that a start with 10,000 of them is one walk. Account numbers
 * are unique across tenants (counter "account"), so the number alone is a batch's owner. What the
 * account holds is in `data`. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

struct db_account {
    uint32_t tenant, account; /* key */
    uint64_t secret;          /* of its acc_ id */
    uint8_t world;            /* 0 live, 1 sandbox; for ever */
    uint8_t state;            /* the server's enum: what is true while the process is down */
    uint32_t made_by;         /* number of the API key that paired it */
    int64_t created_ms, paired_ms, connected_ms, disconnected_ms, deleted_ms;
    struct slice pn, lid; /* own addresses without device; none while pairing */
    struct slice push_name, platform, label;
    struct slice reason;  /* of the state, for get_account_status */
    struct slice extra;   /* opaque to storage */
    bool forgetting;      /* unpaired, its keys are not all deleted yet */
    struct slice refusal; /* how WhatsApp refused it last, sealed; none: it did not */
};

void db_account_put(struct batch *b, const struct db_account *a);
void db_account_delete(struct batch *b, struct scope scope);
err_t db_account_get(struct view *v, struct scope scope, struct db_account *out) MUST_CHECK;
/* The same by a walk: the damaged key of a neighbour may hide a row from a look-up. */
err_t db_account_search(struct view *v, struct scope scope, struct db_account *out) MUST_CHECK;
/* Of one tenant, or with tenant 0 of all. */
void db_accounts(struct range *r, struct view *v, uint32_t tenant);
bool db_account_next(struct range *r, struct db_account *out);
