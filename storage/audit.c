#include "storage/audit.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_audit, key),     FIELD_UINT(2, struct db_audit, account),
    FIELD_UINT(3, struct db_audit, outcome), FIELD_BYTES(4, struct db_audit, tool),
    FIELD_BYTES(5, struct db_audit, target), FIELD_BYTES(6, struct db_audit, detail),
};

static struct key key_of_moment(uint32_t tenant, int64_t at_ms)
{
    struct key k = key_of_tenant(tenant);
    key_be64(&k, at_ms > 0 ? (uint64_t)at_ms : 0);
    return k;
}

void db_audit_put(struct batch *b, uint32_t tenant, const struct db_audit *a)
{
    struct key k = key_of_moment(tenant, a->at_ms);
    key_be32(&k, a->nonce);
    typed_put(b, DB_audit, &k, FIELDS(fields), a);
}

void db_audits(struct range *r, struct view *v, uint32_t tenant, int64_t from_ms, int64_t to_ms,
               enum range_direction direction)
{
    struct key from = key_of_moment(tenant, from_ms);
    struct key to = key_of_moment(tenant, to_ms ? to_ms : INT64_MAX);
    range_between(r, v, DB_audit, key_slice(&from), key_slice(&to), direction);
}

bool db_audit_next(struct range *r, struct db_audit *out)
{
    if (!typed_next(r, FIELDS(fields), out)) return false;
    struct reader key = reader_of(r->key);
    key_read_int(&key);
    out->at_ms = (int64_t)reader_be64(&key);
    out->nonce = reader_be32(&key);
    return true;
}
