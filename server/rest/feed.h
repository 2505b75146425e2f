/* GET /v1/events: the event log as server-sent events.
 *
 * Query: events (names with commas), account_id, chat_id, after (a seq; the Last-Event-ID header
 * wins). Without a position the stream starts now. Frames carry `id` (the seq), `event` and the
 * event's JSON; rows that fell out of the log are announced by an event `gap`, and so is a position
 * that this log never gave out (event_gap). */
#pragma once
#include "server/http/http.h"

enum {
    FEED_UNSENT_HIGH = 256 * 1024, /* then the stream waits for its reader and goes on by replay */
};

void feed_open(struct request *r);
