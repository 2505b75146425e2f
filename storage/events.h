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
