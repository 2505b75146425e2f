/* Idempotency claims: (key, tool, idempotency_key), hashed by the caller, kept for 24 hours.
 *
 * The day of the claim is part of the row's key, so that expiry removes whole days; a look-up
 * tries today and yesterday. A claim is put in the batch of its call's effect and again, with the
 * reply, in the call's last batch. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

enum { CLAIM_HASH = 16, CLAIM_KEPT_MS = 24 * 60 * 60 * 1000, CLAIM_REPLY_MAX = 1024 * 1024 };

struct db_claim {
    struct slice hash;        /* key: CLAIM_HASH bytes */
    int64_t created_ms;       /* its day is in the key: keep it when the reply is put */
    struct slice fingerprint; /* of the arguments */
    uint32_t account;         /* 0: none */
    bool answered;
    struct slice reply; /* what the call answered, when answered */
    struct slice extra;
};

/* Prefix of all claims of the day of `at_ms`; for retention. */
struct key claim_day_key(uint32_t tenant, int64_t at_ms);

void db_claim_put(struct batch *b, uint32_t tenant, const struct db_claim *c);
/* *out_found is false when there is none or it is older than CLAIM_KEPT_MS. */
err_t db_claim_find(struct view *v, uint32_t tenant, struct slice hash, int64_t now_ms,
                    bool *out_found, struct db_claim *out) MUST_CHECK;
