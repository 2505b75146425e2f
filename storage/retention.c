#include "storage/retention.h"

#include "storage/audit.h"
#include "storage/events.h"
#include "storage/idempotency.h"
#include "storage/sessions.h"

/* Deletes cost pages, not bytes of the batch: a slice is bounded by rows too. */
enum { ROWS_PER_SLICE = 1000 };

static bool is_full(const struct batch *b)
{
    return b->op_count >= ROWS_PER_SLICE || b->bytes >= BATCH_SLICE;
}

static uint64_t less(uint64_t bytes, size_t size) { return bytes - (size < bytes ? size : bytes); }

/* Finds how far the log is too old or too large, a slice at a time. What is lost has no age: it
 * goes with the next event that can be read, however far behind it that is. */
static err_t trim_events(struct batch *b, struct view *v, uint32_t tenant,
                         const struct retention *limits, int64_t now_ms, bool *out_more)
{
    AUTO(log_walk) w = {0};
    struct db_log log;
    struct db_event e;
    enum log_step step;
    uint64_t through = 0;

    TRY(db_log_find(v, tenant, &log));
    uint64_t bytes = log.bytes, slice = log.first_seq - 1 + ROWS_PER_SLICE;
    log_walk_init(&w, v, tenant, log.first_seq - 1, log.next_seq - 1);
    while (through < slice && (step = log_walk_next(&w, &e)) != LOG_END) {
        bool is_old = step == LOG_EVENT && limits->event_age_ms &&
                      e.head.at_ms < now_ms - limits->event_age_ms;
        bool is_too_much = limits->event_bytes && bytes > limits->event_bytes;
        if (step == LOG_EVENT && !is_old && !is_too_much) break;
        bytes = less(bytes, step == LOG_EVENT ? EVENT_HEAD + e.bytes.len : w.lost_bytes);
        if (step == LOG_EVENT || is_too_much) through = w.seq;
    }
    TRY(w.error);
    err_clear();
    if (through > slice) through = slice;
    if (through) batch_trim(b, tenant, through);
    *out_more |= through == slice;
    return OK;
}

/* Damaged rows too: their keys are enough. */
static err_t delete_between(struct batch *b, struct view *v, enum db db, struct slice from,
                            struct slice to, bool *out_more)
{
    AUTO(range) r = {0};

    range_between(&r, v, db, from, to, RANGE_FORWARDS);
    while (!is_full(b) && (range_next(&r) || range_pass_damage(&r)))
        batch_delete(b, db, r.key);
    *out_more |= is_full(b);
    return range_error(&r);
}

/* Whole days: the day before yesterday and older. */
static err_t expire_claims(struct batch *b, struct view *v, uint32_t tenant, int64_t now_ms,
                           bool *out_more)
{
    struct key from = key_of_tenant(tenant), to = claim_day_key(tenant, now_ms - CLAIM_KEPT_MS);
    return delete_between(b, v, DB_idempotency, key_slice(&from), key_slice(&to), out_more);
}

static err_t expire_audit(struct batch *b, struct view *v, uint32_t tenant, int64_t before_ms,
                          bool *out_more)
{
    struct key from = key_of_tenant(tenant), to = from;
    key_be64(&to, before_ms > 0 ? (uint64_t)before_ms : 0);
    return delete_between(b, v, DB_audit, key_slice(&from), key_slice(&to), out_more);
}

static err_t expire_sessions(struct batch *b, struct view *v, uint32_t tenant, int64_t before_ms,
                             bool *out_more)
{
    AUTO(range) r = {0};
    struct db_session s;
    uint32_t owner;

    db_sessions(&r, v, tenant);
    while (!is_full(b) && db_session_next(&r, &owner, &s))
        if (s.used_ms < before_ms) TRY(db_session_delete(b, v, owner, s.id));
    *out_more |= is_full(b);
    return range_error(&r);
}

err_t retention_step(struct batch *b, struct view *v, uint32_t tenant,
                     const struct retention *limits, int64_t now_ms, bool *out_more)
{
    *out_more = false;
    TRY(trim_events(b, v, tenant, limits, now_ms, out_more));
    TRY(expire_claims(b, v, tenant, now_ms, out_more));
    if (limits->audit_age_ms)
        TRY(expire_audit(b, v, tenant, now_ms - limits->audit_age_ms, out_more));
    if (limits->session_idle_ms)
        TRY(expire_sessions(b, v, tenant, now_ms - limits->session_idle_ms, out_more));
    return OK;
}

err_t purge_step(struct batch *b, struct view *v, enum db db, struct slice prefix, bool *out_more)
{
    struct key to = key_behind(prefix);
    *out_more = false;
    return delete_between(b, v, db, prefix, key_slice(&to), out_more);
}
