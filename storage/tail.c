#include "storage/tail.h"

#include "storage/typed.h"

static struct key key_of_row(struct scope scope, struct place place)
{
    struct key k = key_of_kind(scope, place.peer, KIND_tail);
    key_be32(&k, place.seq);
    return k;
}

static struct key key_of_chat(struct scope scope, uint32_t peer)
{
    struct key k = key_of_kind(scope, 0, KIND_tailed);
    key_int(&k, peer);
    return k;
}

/* --- rows --------------------------------------------------------------------------------- */

void db_tail(struct range *r, struct view *v, struct scope scope, uint32_t peer)
{
    struct key prefix = key_of_kind(scope, peer, KIND_tail);
    range_prefix(r, v, DB_data, key_slice(&prefix), RANGE_FORWARDS);
}

bool db_tail_next(struct range *r, struct tail_row *out)
{
    uint8_t kind;

    if (!range_next(r)) return false;
    *out = (struct tail_row){0};
    struct reader key = key_read_peer(r->key, &out->place.peer, &kind), in = reader_of(r->value);
    out->place.seq = reader_be32(&key);
    out->place.sec = reader_be32(&in);
    out->terms = reader_rest(&in);
    if (in.error != OK || reader_end(&key) != OK) r->error = fail(STORE_DAMAGED, "row of the tail");
    return r->error == OK;
}

bool tail_next_term(struct slice *terms, struct slice *out)
{
    if (terms->len == 0 || terms->len < 1u + terms->data[0]) return false;
    *out = slice_sub(*terms, 1, 1u + terms->data[0]);
    *terms = slice_from(*terms, 1u + terms->data[0]);
    return true;
}

/* --- the chats that have some ------------------------------------------------------------- */

void db_tail_chats(struct range *r, struct view *v, struct scope scope)
{
    struct key prefix = key_of_kind(scope, 0, KIND_tailed);
    range_prefix(r, v, DB_data, key_slice(&prefix), RANGE_FORWARDS);
}

bool db_tail_chat_next(struct range *r, uint32_t *out_peer)
{
    if (!range_next(r)) return false;
    struct reader key = key_read_rest(r->key);
    *out_peer = key_read_int(&key);
    if (reader_end(&key) != OK) r->error = fail(STORE_DAMAGED, "list of the tail");
    return r->error == OK;
}

void db_tail_chat_done(struct batch *b, struct scope scope, uint32_t peer)
{
    struct key k = key_of_chat(scope, peer);
    batch_delete(b, DB_data, key_slice(&k));
}

/* --- adding and counting ------------------------------------------------------------------ */

/* `terms` as they stand in a row. */
static err_t put_row(struct batch *b, struct view *v, struct scope scope, struct place place,
                     struct slice terms)
{
    struct key row = key_of_row(scope, place), chat = key_of_chat(scope, place.peer);
    struct slice named;
    AUTO(buf) payload = {0};

    buf_put_be32(&payload, place.sec);
    buf_put(&payload, terms);
    batch_put(b, DB_data, key_slice(&row), buf_slice(&payload));
    TRY(typed_current(b, v, DB_data, &chat, &named));
    if (slice_is_none(named)) batch_put(b, DB_data, key_slice(&chat), SLICE("1"));
    return OK;
}

err_t db_tail_add(struct batch *b, struct view *v, struct scope scope, struct place place,
                  const struct terms *terms)
{
    AUTO(buf) bytes = {0};

    for (size_t i = 0; i < terms->count; i++) {
        assert(terms->items[i].len > 0 && terms->items[i].len <= TERM_MAX);
        buf_put_u8(&bytes, (uint8_t)terms->items[i].len);
        buf_put(&bytes, terms->items[i]);
    }
    return put_row(b, v, scope, place, buf_slice(&bytes));
}

err_t db_tail_count(struct view *v, struct scope scope, size_t *out)
{
    AUTO(range) chats = {0};
    struct tail_row row;
    uint32_t peer;
    size_t n = 0;

    db_tail_chats(&chats, v, scope);
    while (db_tail_chat_next(&chats, &peer)) {
        AUTO(range) r = {0};
        db_tail(&r, v, scope, peer);
        while (db_tail_next(&r, &row))
            n++;
        TRY(range_error(&r));
    }
    TRY(range_error(&chats));
    *out = n;
    return OK;
}

/* --- schema 1 ----------------------------------------------------------------------------- */

static err_t move_row(struct batch *b, struct view *v, struct scope scope, const struct range *at)
{
    struct reader in = reader_of(at->value);
    struct place p = {.peer = reader_be32(&in)};

    p.sec = reader_be32(&in);
    p.seq = reader_be32(&in);
    struct slice terms = reader_rest(&in);
    if (in.error != OK) return fail(STORE_DAMAGED, "row of the old tail");
    TRY(put_row(b, v, scope, p, terms));
    batch_delete(b, DB_data, at->key);
    return OK;
}

err_t tail_move_old(struct batch *b, struct view *v, struct scope scope, bool *out_more)
{
    struct key prefix = key_of_kind(scope, 0, KIND_tail_1);
    AUTO(range) r = {0};

    range_prefix(&r, v, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (b->bytes < BATCH_SLICE) {
        if (range_next(&r))
            TRY(move_row(b, v, scope, &r));
        else if (!range_pass_damage(&r))
            break;
    }
    *out_more = b->bytes >= BATCH_SLICE;
    return range_error(&r);
}
