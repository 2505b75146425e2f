#include "storage/apikeys.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_apikey, secret),    FIELD_UINT(2, struct db_apikey, world),
    FIELD_UINT(3, struct db_apikey, revoked),   FIELD_INT(4, struct db_apikey, created_ms),
    FIELD_INT(5, struct db_apikey, expires_ms), FIELD_INT(6, struct db_apikey, used_ms),
    FIELD_BYTES(7, struct db_apikey, hash),     FIELD_BYTES(8, struct db_apikey, name),
    FIELD_BYTES(9, struct db_apikey, rights),   FIELD_BYTES(10, struct db_apikey, hint),
};

static struct key key_of_apikey(uint32_t tenant, uint32_t number)
{
    struct key k = key_of_tenant(tenant);
    key_int(&k, number);
    return k;
}

void db_apikey_put(struct batch *b, const struct db_apikey *a)
{
    assert(a->hash.len == APIKEY_HASH);
    struct key k = key_of_apikey(a->tenant, a->number);
    typed_put(b, DB_apikeys, &k, FIELDS(fields), a);
    batch_put(b, DB_logins, a->hash, key_slice(&k));
}

void db_apikey_delete(struct batch *b, const struct db_apikey *a)
{
    struct key k = key_of_apikey(a->tenant, a->number);
    batch_delete(b, DB_apikeys, key_slice(&k));
    batch_delete(b, DB_logins, a->hash);
}

err_t db_apikey_get(struct view *v, uint32_t tenant, uint32_t number, struct db_apikey *out)
{
    struct key k = key_of_apikey(tenant, number);
    TRY(typed_get(v, DB_apikeys, &k, FIELDS(fields), out));
    out->tenant = tenant;
    out->number = number;
    return OK;
}

err_t db_apikey_login(struct view *v, struct slice hash, struct db_apikey *out)
{
    struct slice payload;

    if (hash.len != APIKEY_HASH) return ERR_NOT_FOUND;
    TRY(view_find(v, DB_logins, hash, &payload));
    if (slice_is_none(payload)) return ERR_NOT_FOUND;
    struct reader r = reader_of(payload);
    uint32_t tenant = key_read_int(&r), number = key_read_int(&r);
    if (reader_end(&r) != OK) return fail(STORE_DAMAGED, "login row");
    return db_apikey_get(v, tenant, number, out);
}

void db_apikeys(struct range *r, struct view *v, uint32_t tenant)
{
    struct key k = key_of_tenant(tenant);
    range_prefix(r, v, DB_apikeys, tenant ? key_slice(&k) : SLICE_NONE, RANGE_FORWARDS);
}

bool db_apikey_next(struct range *r, struct db_apikey *out)
{
    if (!typed_next(r, FIELDS(fields), out)) return false;
    struct reader key = reader_of(r->key);
    out->tenant = key_read_int(&key);
    out->number = key_read_int(&key);
    return true;
}
