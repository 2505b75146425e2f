#include "storage/events.h"

#include "storage/record.h"

static uint8_t *put_be(uint8_t *at, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(v >> 8 * (n - 1 - i));
    return at + n;
}

void event_encode(const struct event_head *h, uint8_t out[EVENT_HEAD])
{
    out = put_be(out, h->account, 4);
    out = put_be(out, h->peer, 4);
    out = put_be(out, h->type, 2);
    out = put_be(out, h->world, 1);
    put_be(out, (uint64_t)h->at_ms, 8);
}

err_t event_decode(struct slice payload, struct event_head *out_head, struct slice *out_bytes)
{
    struct reader r = reader_of(payload);
    struct event_head h = {
        .account = reader_be32(&r),
        .peer = reader_be32(&r),
        .type = reader_be16(&r),
        .world = reader_u8(&r),
        .at_ms = (int64_t)reader_be64(&r),
    };
    struct slice bytes = reader_rest(&r);

    if (r.error != OK) return fail(STORE_DAMAGED, "event of %zu bytes", payload.len);
    *out_head = h;
    *out_bytes = bytes;
    return OK;
}

struct key event_key(uint32_t tenant, uint64_t seq)
{
    struct key k = key_of_tenant(tenant);
    key_be64(&k, seq);
    return k;
}

void log_encode(const struct db_log *log, uint8_t out[LOG_PAYLOAD])
{
    out = put_be(out, log->next_seq, 8);
    out = put_be(out, log->first_seq, 8);
    put_be(out, log->bytes, 8);
}

err_t log_decode(struct slice payload, struct db_log *out)
{
    struct reader r = reader_of(payload);
    struct db_log log = {
        .next_seq = reader_be64(&r), .first_seq = reader_be64(&r), .bytes = reader_be64(&r)};

    if (r.error != OK || log.next_seq == 0 || log.first_seq > log.next_seq)
        return fail(STORE_DAMAGED, "number row of an event log");
    *out = log;
    return OK;
}

err_t db_log_find(struct view *v, uint32_t tenant, struct db_log *out)
{
    struct key k = event_key(tenant, EVENT_NUMBER_ROW);
    struct slice payload;

    TRY(view_find(v, DB_events, key_slice(&k), &payload));
    if (slice_is_none(payload)) {
        *out = (struct db_log){.next_seq = 1, .first_seq = 1};
        return OK;
    }
    return log_decode(payload, out);
}

void db_events(struct range *r, struct view *v, uint32_t tenant, uint64_t after, uint64_t through,
               enum range_direction direction)
{
    if (through == 0 || through >= EVENT_NUMBER_ROW) through = EVENT_NUMBER_ROW - 1;
    if (after > through) after = through;
    struct key from = event_key(tenant, after + 1), to = event_key(tenant, through + 1);
    range_between(r, v, DB_events, key_slice(&from), key_slice(&to), direction);
}

bool db_event_next(struct range *r, struct db_event *out)
{
    if (!range_next(r)) return false;
    struct reader key = reader_of(r->key);
    key_read_int(&key);
    out->seq = reader_be64(&key);
    r->error = event_decode(r->value, &out->head, &out->bytes);
    return r->error == OK;
}

/* --- the walk that nothing stops ---------------------------------------------------------- */

void log_walk_init(struct log_walk *w, struct view *v, uint32_t tenant, uint64_t after,
                   uint64_t through)
{
    if (after > through) after = through;
    *w = (struct log_walk){.seq = after, .through = through};
    db_events(&w->range, v, tenant, after, through, RANGE_FORWARDS);
}

/* A row counts as one number, whatever its key says: the key may be what is damaged. */
static enum log_step lose_one(struct log_walk *w)
{
    w->lost_bytes = 0;
    w->seq++;
    if (!w->range.damaged) {
        w->through = w->seq; /* LMDB has no way on from here; the next walk begins behind it */
        return LOG_LOST;
    }
    w->lost_bytes = slice_from(w->range.stored_value, RECORD_HEAD).len;
    range_resume(&w->range);
    return LOG_LOST;
}

static enum log_step lose_through(struct log_walk *w, uint64_t last)
{
    (void)fail(STORE_DAMAGED, "the events %llu to %llu are not found",
               (unsigned long long)(w->seq + 1), (unsigned long long)last);
    w->lost_bytes = 0;
    w->seq = last;
    return LOG_LOST;
}

/* What stands in between is no event of this log: those that it hides leave a hole. */
static bool find_ahead(struct log_walk *w)
{
    bool found = w->has_ahead || db_event_next(&w->range, &w->ahead);

    while (!found && w->range.astray) {
        range_resume(&w->range);
        found = db_event_next(&w->range, &w->ahead);
    }
    return found;
}

enum log_step log_walk_next(struct log_walk *w, struct db_event *out)
{
    if (w->error != OK || w->seq >= w->through) return LOG_END;
    if (!find_ahead(w)) {
        err_t e = range_error(&w->range);
        if (e == ERR_STORE_DAMAGED) return lose_one(w);
        if (e == OK) return lose_through(w, w->through);
        w->error = e;
        return LOG_END;
    }
    w->has_ahead = w->ahead.seq > w->seq + 1;
    if (w->has_ahead) return lose_through(w, w->ahead.seq - 1);
    *out = w->ahead;
    w->seq = out->seq;
    return LOG_EVENT;
}

void log_walk_done(struct log_walk *w) { range_done(&w->range); }
