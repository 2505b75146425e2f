#include "storage/outbox.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_outbox, place.peer), FIELD_UINT(2, struct db_outbox, place.sec),
    FIELD_UINT(3, struct db_outbox, place.seq),  FIELD_UINT(4, struct db_outbox, place.secret),
    FIELD_BYTES(5, struct db_outbox, stanza_id), FIELD_BYTES(6, struct db_outbox, to),
    FIELD_BYTES(7, struct db_outbox, stanza),    FIELD_INT(8, struct db_outbox, created_ms),
    FIELD_INT(9, struct db_outbox, expires_ms),  FIELD_UINT(10, struct db_outbox, attempts),
    FIELD_BYTES(12, struct db_outbox, extra), /* 11 was used once */
};

static struct key key_of_outbox(struct scope scope, uint64_t ordinal)
{
    struct key k = key_of_kind(scope, 0, KIND_outbox);
    key_be64(&k, ordinal);
    return k;
}

static uint64_t ordinal_of(const struct range *r)
{
    struct reader key = key_read_rest(r->key);
    return reader_be64(&key);
}

err_t db_outbox_add(struct batch *b, struct view *v, struct scope scope, struct db_outbox *o)
{
    assert(view_covers(v, b));
    AUTO(range) r = {0};
    struct key prefix = key_of_kind(scope, 0, KIND_outbox);

    range_prefix(&r, v, DB_data, key_slice(&prefix), RANGE_BACKWARDS);
    o->ordinal = range_next(&r) ? ordinal_of(&r) + 1 : 1;
    TRY(range_error(&r));
    db_outbox_put(b, scope, o);
    return OK;
}

void db_outbox_put(struct batch *b, struct scope scope, const struct db_outbox *o)
{
    struct key k = key_of_outbox(scope, o->ordinal);
    typed_put(b, DB_data, &k, FIELDS(fields), o);
}

void db_outbox_delete(struct batch *b, struct scope scope, uint64_t ordinal)
{
    struct key k = key_of_outbox(scope, ordinal);
    batch_delete(b, DB_data, key_slice(&k));
}

err_t db_outbox_find(struct view *v, struct scope scope, uint64_t ordinal, bool *out_found,
                     struct db_outbox *out)
{
    struct key k = key_of_outbox(scope, ordinal);
    TRY(typed_find(v, DB_data, &k, FIELDS(fields), out, out_found));
    if (*out_found) out->ordinal = ordinal;
    return OK;
}

void db_outboxes(struct range *r, struct view *v, struct scope scope)
{
    struct key prefix = key_of_kind(scope, 0, KIND_outbox);
    range_prefix(r, v, DB_data, key_slice(&prefix), RANGE_FORWARDS);
}

bool db_outbox_next(struct range *r, struct db_outbox *out)
{
    if (!typed_next(r, FIELDS(fields), out)) return false;
    out->ordinal = ordinal_of(r);
    return true;
}
