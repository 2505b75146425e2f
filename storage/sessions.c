/* A session's row is (tenant, id, 00); its subscriptions follow it: (tenant, id, 00, name). */
#include "storage/sessions.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_session, key),           FIELD_BYTES(2, struct db_session, revision),
    FIELD_BYTES(3, struct db_session, capabilities), FIELD_BYTES(4, struct db_session, client),
    FIELD_BYTES(5, struct db_session, log_level),    FIELD_BYTES(6, struct db_session, path),
    FIELD_INT(7, struct db_session, created_ms),     FIELD_INT(8, struct db_session, used_ms),
    FIELD_BYTES(9, struct db_session, extra),
};
static const struct field subscription_fields[] = {
    FIELD_BYTES(1, struct db_subscription, filter),
    FIELD_UINT(2, struct db_subscription, cursor),
    FIELD_INT(3, struct db_subscription, created_ms),
};

static struct key key_of_session(uint32_t tenant, struct slice id)
{
    struct key k = key_of_tenant(tenant);
    assert(id.len <= SESSION_ID_MAX && slice_find(id, 0) == id.len);
    key_bytes(&k, id);
    key_u8(&k, 0);
    return k;
}

void db_session_put(struct batch *b, uint32_t tenant, const struct db_session *s)
{
    struct key k = key_of_session(tenant, s->id);
    typed_put(b, DB_sessions, &k, FIELDS(fields), s);
}

static bool is_session_id(struct slice id)
{
    return id.len > 0 && id.len <= SESSION_ID_MAX && slice_find(id, 0) == id.len;
}

err_t db_session_find(struct view *v, uint32_t tenant, struct slice id, bool *out_found,
                      struct db_session *out)
{
    *out_found = false;
    if (!is_session_id(id)) return OK;
    struct key k = key_of_session(tenant, id);
    TRY(typed_find(v, DB_sessions, &k, FIELDS(fields), out, out_found));
    if (*out_found) out->id = id;
    return OK;
}

err_t db_session_delete(struct batch *b, struct view *v, uint32_t tenant, struct slice id)
{
    if (!is_session_id(id)) return OK;
    AUTO(range) r = {0};
    struct key prefix = key_of_session(tenant, id);
    range_prefix(&r, v, DB_sessions, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&r) || range_pass_damage(&r)) /* the key is enough */
        batch_delete(b, DB_sessions, r.key);
    return range_error(&r);
}

void db_sessions(struct range *r, struct view *v, uint32_t tenant)
{
    struct key k = key_of_tenant(tenant);
    range_prefix(r, v, DB_sessions, tenant ? key_slice(&k) : SLICE_NONE, RANGE_FORWARDS);
}

/* The next row that can be read: a damaged session is nobody's, and the others go on. */
static bool next_row(struct range *r)
{
    while (!range_next(r))
        if (!range_pass_damage(r)) return false;
    return true;
}

bool db_session_next(struct range *r, uint32_t *out_tenant, struct db_session *out)
{
    while (next_row(r)) {
        struct reader key = reader_of(r->key);
        uint32_t tenant = key_read_int(&key);
        struct slice id = reader_rest(&key);
        size_t end = slice_find(id, 0);
        if (end + 1 != id.len) continue; /* a subscription */

        r->error = record_decode(FIELDS(fields), r->value, out);
        if (r->error != OK) return false;
        out->id = slice_sub(id, 0, end);
        *out_tenant = tenant;
        return true;
    }
    return false;
}

static struct key key_of_subscription(uint32_t tenant, struct slice owner, struct slice name)
{
    struct key k = key_of_session(tenant, owner);
    assert(name.len > 0 && name.len <= SUBSCRIPTION_NAME_MAX);
    key_bytes(&k, name);
    return k;
}

void db_subscription_put(struct batch *b, uint32_t tenant, struct slice owner,
                         const struct db_subscription *s)
{
    struct key k = key_of_subscription(tenant, owner, s->name);
    typed_put(b, DB_sessions, &k, FIELDS(subscription_fields), s);
}

void db_subscription_delete(struct batch *b, uint32_t tenant, struct slice owner, struct slice name)
{
    struct key k = key_of_subscription(tenant, owner, name);
    batch_delete(b, DB_sessions, key_slice(&k));
}

/* Starts behind the session's own row, whose key is the prefix itself. */
void db_subscriptions(struct range *r, struct view *v, uint32_t tenant, struct slice owner)
{
    struct key from = key_of_session(tenant, owner), to = key_behind(key_slice(&from));
    key_u8(&from, 0);
    range_between(r, v, DB_sessions, key_slice(&from), key_slice(&to), RANGE_FORWARDS);
}

bool db_subscription_next(struct range *r, struct db_subscription *out)
{
    if (!typed_next(r, FIELDS(subscription_fields), out)) return false;
    struct reader key = reader_of(r->key);
    key_read_int(&key);
    struct slice rest = reader_rest(&key);
    out->name = slice_from(rest, slice_find(rest, 0) + 1);
    return true;
}
