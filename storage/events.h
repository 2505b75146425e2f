/* The event log: one totally ordered sequence per tenant, numbered by the writer at commit
 * (batch_event in batch.h). The next number is a row of its own, which sorts behind the newest
 * event: an emptied log never counts back. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

struct db_event {
    uint64_t seq;
    struct event_head head;
    struct slice bytes;
};

struct db_log {
    uint64_t next_seq;  /* 1 when nothing was ever logged */
    uint64_t first_seq; /* oldest that is kept; next_seq when the log is empty */
    uint64_t bytes;     /* payload of what is kept */
};
err_t db_log_find(struct view *v, uint32_t tenant, struct db_log *out) MUST_CHECK;

/* The stored payload of an event: head, then bytes. For the writer and batch_event(). */
enum { EVENT_HEAD = 19 };
void event_encode(const struct event_head *head, uint8_t out[EVENT_HEAD]);
err_t event_decode(struct slice payload, struct event_head *out_head,
                   struct slice *out_bytes) MUST_CHECK;
/* Payload of the number row, whose key is (tenant, EVENT_NUMBER_ROW). */
#define EVENT_NUMBER_ROW UINT64_MAX
struct key event_key(uint32_t tenant, uint64_t seq);
enum { LOG_PAYLOAD = 24 };
void log_encode(const struct db_log *log, uint8_t out[LOG_PAYLOAD]);
err_t log_decode(struct slice payload, struct db_log *out) MUST_CHECK;

/* Events with after < seq <= through (0: to the end), either way. A reader whose `after` is below
 * first_seq - 1 announces a gap. */
void db_events(struct range *r, struct view *v, uint32_t tenant, uint64_t after, uint64_t through,
               enum range_direction direction);
bool db_event_next(struct range *r, struct db_event *out);

/* The same forwards, for who serves a whole tenant: no damaged row stops it. Every number of the
 * log is an event, so one that cannot be read, or is not found, is told as lost and the walk goes
 * on behind it:
 *
 *     AUTO(log_walk) w = {0};
 *     log_walk_init(&w, view, tenant, after, log.next_seq - 1);
 *     while ((step = log_walk_next(&w, &e)) != LOG_END) …
 *     TRY(w.error);
 */
enum log_step {
    LOG_END,   /* w.error, or there is no way on: w.seq says how far it came */
    LOG_EVENT, /* w.seq is its number */
    LOG_LOST,  /* all behind the last step up to w.seq; err_trail() says why */
};

struct log_walk {
    uint64_t seq;      /* how far it has come */
    size_t lost_bytes; /* payload of what LOG_LOST is about, as far as it is known */
    err_t error;
    uint64_t through;
    struct range range;
    struct db_event ahead; /* found behind numbers that are lost */
    bool has_ahead;
};

/* `through` is in the log, or 0 when it is empty: then nothing is lost at its end. */
void log_walk_init(struct log_walk *w, struct view *v, uint32_t tenant, uint64_t after,
                   uint64_t through);
enum log_step log_walk_next(struct log_walk *w, struct db_event *out);
void log_walk_done(struct log_walk *w);
