/* The audit log of a tenant: what which key did, oldest first. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

struct db_audit {
    int64_t at_ms;  /* key */
    uint32_t nonce; /* key: tells rows of one millisecond apart; the caller counts */
    uint32_t key, account;
    uint16_t outcome; /* err_t of the call */
    struct slice tool, target, detail;
};
void db_audit_put(struct batch *b, uint32_t tenant, const struct db_audit *a);
/* Rows with from_ms <= at_ms < to_ms (0: to the end). */
void db_audits(struct range *r, struct view *v, uint32_t tenant, int64_t from_ms, int64_t to_ms,
               enum range_direction direction);
bool db_audit_next(struct range *r, struct db_audit *out);
