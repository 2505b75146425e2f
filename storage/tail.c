#include "storage/tail.h"

#include "storage/typed.h"

static struct key key_of_row(struct scope scope, uint64_t ordinal)
{
    struct key k = key_of_kind(scope, 0, KIND_tail);
    key_be64(&k, ordinal);
    return k;
}

static uint64_t ordinal_of(const struct range *r)
{
    struct reader key = key_read_rest(r->key);
    return reader_be64(&key);
}

void db_tail(struct range *r, struct view *v, struct scope scope, enum range_direction direction)
{
    struct key prefix = key_of_kind(scope, 0, KIND_tail);
    range_prefix(r, v, DB_data, key_slice(&prefix), direction);
}

static err_t ordinal_at_end(struct view *v, struct scope scope, enum range_direction direction,
                            uint64_t *out)
{
    AUTO(range) r = {0};
    db_tail(&r, v, scope, direction);
    *out = range_next(&r) ? ordinal_of(&r) : 0;
    return range_error(&r);
}

err_t db_tail_add(struct batch *b, struct view *v, struct scope scope, struct place place,
                  const struct terms *terms)
{
    assert(view_covers(v, b));
    AUTO(buf) payload = {0};
    uint64_t last;

    TRY(ordinal_at_end(v, scope, RANGE_BACKWARDS, &last));
    struct key k = key_of_row(scope, last + 1);
    buf_put_be32(&payload, place.peer);
    buf_put_be32(&payload, place.sec);
    buf_put_be32(&payload, place.seq);
    for (size_t i = 0; i < terms->count; i++) {
        assert(terms->items[i].len > 0 && terms->items[i].len <= TERM_MAX);
        buf_put_u8(&payload, (uint8_t)terms->items[i].len);
        buf_put(&payload, terms->items[i]);
    }
    batch_put(b, DB_data, key_slice(&k), buf_slice(&payload));
    return OK;
}

err_t db_tail_count(struct view *v, struct scope scope, size_t *out)
{
    uint64_t first, last;
    TRY(ordinal_at_end(v, scope, RANGE_FORWARDS, &first));
    TRY(ordinal_at_end(v, scope, RANGE_BACKWARDS, &last));
    *out = last ? (size_t)(last - first + 1) : 0;
    return OK;
}

bool db_tail_next(struct range *r, struct tail_row *out)
{
    if (!range_next(r)) return false;
    struct reader in = reader_of(r->value);
    struct place p = {.peer = reader_be32(&in), .sec = reader_be32(&in), .seq = reader_be32(&in)};
    *out = (struct tail_row){ordinal_of(r), p, reader_rest(&in)};
    if (in.error != OK) r->error = fail(STORE_DAMAGED, "row of the tail");
    return r->error == OK;
}

bool tail_next_term(struct slice *terms, struct slice *out)
{
    if (terms->len == 0 || terms->len < 1u + terms->data[0]) return false;
    *out = slice_sub(*terms, 1, 1u + terms->data[0]);
    *terms = slice_from(*terms, 1u + terms->data[0]);
    return true;
}
