/* The hub: who gets which event. One per worker.
 *
 * The writer hands each commit's events, in log order, to hubs_publish(); every worker's hub gets a
 * reference to them as a post. A stream is a cursor over the tenant's log: it replays rows from
 * the database in slices up to the last number its hub has delivered, then takes live events;
 * what is not above the cursor is dropped, and events it filters out move the cursor too, so the
 * seam between replay and live has neither gap nor double. When rows it still needed fell out of
 * the log, it is told the gap before anything else.
 *
 * When chats become one, the commit tells it (event_merge), and every filter that names one of them
 * names both from there on, of streams and of keys.
 *
 * A stream whose `on_event` answers false, or that is held, falls back to replay and reads on
 * from the log after hub_stream_resume(): a slow reader costs no memory here and loses nothing. */
#pragma once
#include "server/events/event.h"
#include "server/http/http.h"
#include "server/tenant/principal.h"
#include "server/worker.h"

struct hub;
struct hubs;
struct log_events;
struct server;

enum {
    HUB_TURN_BYTES = 256 << 10, /* read from the log in one loop turn, for all that replay */
    HUB_FILTERS_MAX = 64,       /* of one stream */
    HUB_KEY_FILTERS_MAX = 64,   /* subscriptions of one key */
    HUB_FRAMES = 4,             /* shared serialisations of one event, see hub_event_frame */
};

/* ---- for main and the writer ---- */

/* Before the workers start; s->workers and s->store are there. STORE_FAILED without reader slots.
 */
err_t hubs_new(struct server *s, struct hubs **out) MUST_CHECK;
/* Workers have stopped. */
void hubs_free(struct hubs *h);
/* The writer's thread, once per commit, in log order: writer_options.on_events with the hubs as
 * context. Takes references. */
void hubs_publish(void *hubs, struct log_events *events);
/* Any thread: an event that is not stored; it has no seq and reaches live streams only. Copies. */
void hubs_publish_live(struct hubs *h, uint32_t tenant, const struct event_head *head,
                       struct slice bytes);
/* The hub of the calling worker, or of worker `index`. */
struct hub *hub_here(struct hubs *h);
struct hub *hub_at(struct hubs *h, int index);

/* ---- an event as a stream sees it ---- */

struct hub_event {
    uint32_t tenant;
    uint64_t seq; /* 0: not stored */
    const struct event_head *head;
    enum event_kind kind;
    struct slice bytes;         /* the object without seq */
    struct shared_bytes *json_; /* private: made on first use */
    struct shared_bytes *frames_[HUB_FRAMES];
};
/* The event's JSON with seq; borrowed for the callback (shared_bytes_ref to keep it). */
struct shared_bytes *hub_event_json(struct hub_event *e);
/* A door's own serialisation, made once per event and worker for all its streams. `kind` is one of
 * the numbers below. */
enum hub_frame { HUB_FRAME_SSE, HUB_FRAME_MCP_LOG, HUB_FRAME_MCP_RESOURCE, HUB_FRAME_MCP_VENDOR };
struct shared_bytes *hub_event_frame(struct hub_event *e, enum hub_frame kind,
                                     void (*build)(struct hub_event *e, struct buf *out));

/* ---- streams ---- */

/* What an event matched. Both may be set. */
struct hub_match {
    uint64_t own; /* bit i: filters[i] of the stream */
    uint64_t key; /* bit i: subscription i of the principal's key (with follows_key) */
};

struct hub_stream {
    /* Private, and what each event touches: it stands together with the first of the owner's. */
    struct list link;
    struct hub *hub;
    struct hub_feed *feed;
    struct hub_key *key;
    uint64_t cursor; /* last number seen; everybody may read it */
    enum { HUB_CLOSED, HUB_LIVE, HUB_REPLAYING, HUB_HELD } state;

    /* The owner fills these before hub_stream_open(). */
    bool follows_key; /* also what the key subscribed to with subscribe_events */
    void *owner;
    /* False: the reader is full; this event comes again from the log after hub_stream_resume(). */
    bool (*on_event)(struct hub_stream *s, struct hub_event *e, struct hub_match match);
    /* The owner's, and written to when chats become one; may be replaced between callbacks. Who
     * reads them from the database hands them over in the same loop turn. */
    struct event_filter *filters;
    size_t filter_count; /* at most HUB_FILTERS_MAX; 0 and not follows_key: nothing matches */
    struct principal who;
    /* Rows first..last fell out of the log unread. first > last: the cursor was never given out by
     * this log (a restored database); the stream goes on behind `last`. NULL: not told. */
    void (*on_gap)(struct hub_stream *s, uint64_t first, uint64_t last);
    /* The cursor has reached everything the hub has delivered: once after the opening, and after
     * each fall-back to replay. May be NULL. */
    void (*on_caught_up)(struct hub_stream *s);
    /* The key was revoked (UNAUTHORIZED) or the log cannot be read: close the stream and what it
     * hangs on. NULL: it just goes quiet. */
    void (*on_end)(struct hub_stream *s, err_t why);
};

/* From behind `after`; HUB_FROM_NOW: what comes from now on. Callbacks come later, never inside
 * this call. Own worker only, as everything below. */
#define HUB_FROM_NOW UINT64_MAX
void hub_stream_open(struct hub *h, struct hub_stream *s, uint64_t after);
/* No callback afterwards; may be called inside one. */
void hub_stream_close(struct hub_stream *s);
/* Stops callbacks until resumed; what comes meanwhile is read from the log then. */
void hub_stream_hold(struct hub_stream *s);
void hub_stream_resume(struct hub_stream *s);
/* The last number this hub has delivered for the tenant. */
uint64_t hub_last(struct hub *h, uint32_t tenant);

/* ---- subscriptions of a key (subscribe_events) ---- */

/* Any thread: tells every hub what a key is subscribed to now; streams that follow the key use it
 * from the moment it arrives. Copied. Who read them from the database looks again afterwards: a
 * merge that was committed between was told before them. */
void hubs_set_key_filters(struct hubs *h, struct slice key, const struct event_filter *filters,
                          size_t n);
/* Any thread: a key was revoked: every worker's hub ends its streams. */
void hubs_revoke_key(struct hubs *h, struct slice key);
