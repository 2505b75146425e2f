#include "storage/tenants.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_tenant, secret),    FIELD_INT(2, struct db_tenant, created_ms),
    FIELD_UINT(3, struct db_tenant, deleted),   FIELD_BYTES(4, struct db_tenant, name),
    FIELD_BYTES(5, struct db_tenant, settings),
};

void db_tenant_put(struct batch *b, const struct db_tenant *t)
{
    struct key k = key_of_tenant(t->tenant);
    typed_put(b, DB_tenants, &k, FIELDS(fields), t);
}

void db_tenant_delete(struct batch *b, uint32_t tenant)
{
    struct key k = key_of_tenant(tenant);
    batch_delete(b, DB_tenants, key_slice(&k));
}

err_t db_tenant_get(struct view *v, uint32_t tenant, struct db_tenant *out)
{
    struct key k = key_of_tenant(tenant);
    TRY(typed_get(v, DB_tenants, &k, FIELDS(fields), out));
    out->tenant = tenant;
    return OK;
}

void db_tenants(struct range *r, struct view *v)
{
    range_prefix(r, v, DB_tenants, SLICE_NONE, RANGE_FORWARDS);
}

bool db_tenant_next(struct range *r, struct db_tenant *out)
{
    if (!typed_next(r, FIELDS(fields), out)) return false;
    struct reader key = reader_of(r->key);
    out->tenant = key_read_int(&key);
    return true;
}

/* The first giver's row has the bare name; it sorts before those of the others. */
static struct key counter_key(const char *name, unsigned giver)
{
    struct key k = {0};

    key_bytes(&k, SLICE("next."));
    key_bytes(&k, slice_text(name));
    if (giver) {
        key_u8(&k, 0);
        key_int(&k, giver);
    }
    return k;
}

err_t db_counter_find(struct view *v, const char *name, uint64_t *out)
{
    AUTO(range) r = {0};
    struct key from = counter_key(name, 0), to = from;
    uint64_t highest = 0;

    key_u8(&to, 1); /* behind 00, which follows the name for the other givers */
    range_between(&r, v, DB_meta, key_slice(&from), key_slice(&to), RANGE_FORWARDS);
    while (range_next(&r)) {
        struct reader in = reader_of(r.value);
        uint64_t value = reader_be64(&in);
        if (reader_end(&in) != OK) return fail(STORE_DAMAGED, "counter %s", name);
        if (value > highest) highest = value;
    }
    TRY(range_error(&r));
    *out = highest;
    return OK;
}

void db_counter_put(struct batch *b, const char *name, unsigned giver, uint64_t value)
{
    struct key k = counter_key(name, giver);
    AUTO(buf) payload = {0};
    buf_put_be64(&payload, value);
    batch_put(b, DB_meta, key_slice(&k), buf_slice(&payload));
}
