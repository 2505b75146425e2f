/* The event log of a world: all that it was ever given, kept here; how far retention has cut it;
 * and whether those who are told of a gap are told the truth. Without upkeep nothing may be cut,
 * and so nobody may be told of a gap. */
#include "server/upkeep.h"
#include "tests/flow/world.h"

enum { TURNED_BACK_MS = 10 * 60 * 1000 /* more than the world's clock is set back in a moment */ };
#define DAY_MS ((int64_t)24 * 3600 * 1000)

static uint64_t size_of(const struct past_event *e) { return EVENT_HEAD + e->bytes.len; }

void log_take(struct town *w, const struct log_event *e)
{
    struct past *p = &w->past;

    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 256;
        p->events = xrealloc(p->events, p->room * sizeof *p->events);
    }
    p->events[p->count] = (struct past_event){.head = e->head};
    buf_put(&p->events[p->count++].bytes, e->bytes);
}

void log_done(struct town *w)
{
    for (uint64_t i = 0; i < w->past.count; i++)
        buf_done(&w->past.events[i].bytes);
    free(w->past.events);
}

/* ---- what retention cuts ---- */

static bool is_old(const struct town *w, const struct past_event *e, int64_t ms)
{
    return e->head.at_ms < w->now + w->skew + ms - w->config.event_days * DAY_MS;
}

/* Only what is too old, or what with all behind it is too much. */
static void judge_cut(struct town *w, uint64_t through)
{
    uint64_t bytes = 0, too_early = 0;
    bool by_age = false, by_size = false;

    for (uint64_t seq = w->past.count; seq > w->past.cut; seq--) {
        const struct past_event *e = &w->past.events[seq - 1];

        bytes += size_of(e);
        if (seq > through) continue;
        bool is_too_much = bytes > (uint64_t)w->log_bytes_least;
        if (!is_too_much && !is_old(w, e, TURNED_BACK_MS)) too_early = seq;
        by_size |= is_too_much;
        by_age |= !is_too_much;
    }
    if (too_early)
        violated(w, "event %llu was cut from a log that has room for it",
                 (unsigned long long)too_early);
    if (by_size) plan_met("cut_log");
    if (by_age) plan_met("aged_log");
}

void log_look(struct town *w)
{
    struct view *v = w->server.accounts->workers[0].view;
    struct db_log log = {0};
    err_t e = view_begin(v);

    if (e == OK) e = db_log_find(v, TENANT, &log);
    view_end(v);
    if (e != OK || log.next_seq != w->past.count + 1 || log.first_seq < w->past.cut + 1)
        violated(w, "the log is said to hold %llu to %llu, of %llu of which %llu were cut",
                 (unsigned long long)log.first_seq, (unsigned long long)log.next_seq - 1,
                 (unsigned long long)w->past.count, (unsigned long long)w->past.cut);
    else if (log.first_seq > w->past.cut + 1) {
        note(w, "the log is cut up to %llu", (unsigned long long)log.first_seq - 1);
        judge_cut(w, log.first_seq - 1);
        w->past.cut = log.first_seq - 1;
    }
    w->log_bytes_least = w->config.event_bytes;
}

/* ---- what is told of it ---- */

void log_gap(struct town *w, const char *who, uint64_t first, uint64_t last, uint64_t cut)
{
    if (first > last || last > w->past.cut || last < cut)
        violated(w, "%s is told of a gap %llu to %llu, and the log was cut up to %llu", who,
                 (unsigned long long)first, (unsigned long long)last,
                 (unsigned long long)w->past.cut);
}

/* ---- in the end ---- */

static void judge_row(struct town *w, const struct db_event *row, uint64_t seq)
{
    if (row->seq != seq || seq > w->past.count) {
        violated(w, "the log has event %llu where %llu stands", (unsigned long long)row->seq,
                 (unsigned long long)seq);
        return;
    }
    const struct past_event *e = &w->past.events[seq - 1];
    uint8_t given[EVENT_HEAD], found[EVENT_HEAD];
    event_encode(&e->head, given);
    event_encode(&row->head, found);
    if (memcmp(given, found, EVENT_HEAD) != 0 || !slice_eq(buf_slice(&e->bytes), row->bytes))
        violated(w, "event %llu is not what was handed on", (unsigned long long)seq);
}

/* Faults have stopped long ago: upkeep has been here since all but the newest were logged. */
static void judge_size(struct town *w, uint64_t rows_bytes, uint64_t older_bytes)
{
    struct db_log log = {0};

    if (db_log_find(w->server.accounts->workers[0].view, TENANT, &log) != OK ||
        log.bytes != rows_bytes)
        violated(w, "the log counts %llu bytes and has %llu", (unsigned long long)log.bytes,
                 (unsigned long long)rows_bytes);
    if (w->tidy && older_bytes > (uint64_t)w->config.event_bytes)
        violated(w, "the log keeps %llu bytes", (unsigned long long)older_bytes);
}

static void read_rows(struct town *w, struct view *v)
{
    int64_t before = w->now + w->skew - 3 * UPKEEP_EVERY_MS;
    uint64_t seq = w->past.cut, bytes = 0, older = 0;
    struct db_event row;
    AUTO(range) r = {0};

    db_events(&r, v, TENANT, 0, 0, RANGE_FORWARDS);
    while (db_event_next(&r, &row)) {
        judge_row(w, &row, ++seq);
        bytes += EVENT_HEAD + row.bytes.len;
        if (row.head.at_ms < before) older += EVENT_HEAD + row.bytes.len;
    }
    if (range_error(&r) != OK) violated(w, "the log is damaged: %s", err_trail());
    if (seq != w->last_seq) violated(w, "the log ends before what was handed on");
    judge_size(w, bytes, older);
}

void log_judge(struct town *w)
{
    struct view *v = w->server.accounts->workers[0].view;

    log_look(w);
    if (view_begin(v) == OK)
        read_rows(w, v);
    else
        violated(w, "the log cannot be read: %s", err_trail());
    view_end(v);
}
