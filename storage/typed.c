#include "storage/typed.h"

void typed_put(struct batch *b, enum db db, const struct key *key, const struct field *fields,
               size_t count, const void *object)
{
    AUTO(buf) payload = {0};
    record_encode(fields, count, object, &payload);
    batch_put(b, db, key_slice(key), buf_slice(&payload));
}

err_t typed_find(struct view *v, enum db db, const struct key *key, const struct field *fields,
                 size_t count, void *object, bool *out_found)
{
    struct slice payload;
    TRY(view_find(v, db, key_slice(key), &payload));
    *out_found = !slice_is_none(payload);
    return *out_found ? record_decode(fields, count, payload, object) : OK;
}

err_t typed_get(struct view *v, enum db db, const struct key *key, const struct field *fields,
                size_t count, void *object)
{
    bool found;
    TRY(typed_find(v, db, key, fields, count, object, &found));
    return found ? OK : fail(NOT_FOUND, "no such row in %s", store_db_name(db));
}

bool typed_next(struct range *r, const struct field *fields, size_t count, void *object)
{
    if (!range_next(r)) return false;
    r->error = record_decode(fields, count, r->value, object);
    return r->error == OK;
}

err_t typed_current(const struct batch *b, struct view *v, enum db db, const struct key *key,
                    struct slice *out)
{
    switch (batch_find(b, db, key_slice(key), out)) {
    case BATCH_VALUE: return OK;
    case BATCH_DELETED: *out = SLICE_NONE; return OK;
    default: return view_find(v, db, key_slice(key), out);
    }
}
