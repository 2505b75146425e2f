#include "storage/idempotency.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_INT(1, struct db_claim, created_ms), FIELD_BYTES(2, struct db_claim, fingerprint),
    FIELD_UINT(3, struct db_claim, account),   FIELD_UINT(4, struct db_claim, answered),
    FIELD_BYTES(5, struct db_claim, reply),    FIELD_BYTES(6, struct db_claim, extra),
};

struct key claim_day_key(uint32_t tenant, int64_t at_ms)
{
    struct key k = key_of_tenant(tenant);
    key_be16(&k, (uint16_t)(at_ms > 0 ? at_ms / CLAIM_KEPT_MS : 0));
    return k;
}

static struct key key_of_claim(uint32_t tenant, int64_t at_ms, struct slice hash)
{
    struct key k = claim_day_key(tenant, at_ms);
    assert(hash.len == CLAIM_HASH);
    key_bytes(&k, hash);
    return k;
}

void db_claim_put(struct batch *b, uint32_t tenant, const struct db_claim *c)
{
    assert(c->reply.len <= CLAIM_REPLY_MAX);
    struct key k = key_of_claim(tenant, c->created_ms, c->hash);
    typed_put(b, DB_idempotency, &k, FIELDS(fields), c);
}

static err_t find_at(struct view *v, uint32_t tenant, struct slice hash, int64_t at_ms,
                     bool *out_found, struct db_claim *out)
{
    struct key k = key_of_claim(tenant, at_ms, hash);
    return typed_find(v, DB_idempotency, &k, FIELDS(fields), out, out_found);
}

err_t db_claim_find(struct view *v, uint32_t tenant, struct slice hash, int64_t now_ms,
                    bool *out_found, struct db_claim *out)
{
    struct db_claim c = {.hash = hash};
    bool found;

    /* A clock that was set back may have written tomorrow's day; nothing else can. */
    TRY(find_at(v, tenant, hash, now_ms, &found, &c));
    if (!found) TRY(find_at(v, tenant, hash, now_ms - CLAIM_KEPT_MS, &found, &c));
    if (!found) TRY(find_at(v, tenant, hash, now_ms + CLAIM_KEPT_MS, &found, &c));
    *out_found = found && c.created_ms > now_ms - CLAIM_KEPT_MS;
    if (*out_found) *out = c;
    return OK;
}
