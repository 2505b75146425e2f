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

/* Events with after < seq <= through (0: to the end), either way. A reader whose `after` is below
 * first_seq - 1 announces a gap. */
void db_events(struct range *r, struct view *v, uint32_t tenant, uint64_t after, uint64_t through,
               enum range_direction direction);
bool db_event_next(struct range *r, struct db_event *out);
