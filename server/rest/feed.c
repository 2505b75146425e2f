/* A feed is a stream of the hub behind an event stream of HTTP. */
#include "server/rest/feed.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "server/api/json.h"
#include "server/directory.h"
#include "server/events/hub.h"
#include "server/server.h"
#include "server/tenant/auth.h"
#include "server/tenant/subscriptions.h"

struct feed {
    struct hub_stream stream;
    struct event_filter filter;
    struct sse *sse;
};

/* ---- frames ---- */

static void build_frame(struct hub_event *e, struct buf *out)
{
    struct shared_bytes *json = hub_event_json(e);
    char id[24];
    int n = snprintf(id, sizeof(id), "%llu", (unsigned long long)e->seq);

    sse_frame(out, e->seq ? slice_of(id, (size_t)n) : SLICE_NONE, slice_text(event_name(e->kind)),
              slice_of(json->data, json->len));
}

static bool on_event(struct hub_stream *s, struct hub_event *e, struct hub_match match)
{
    struct feed *f = s->owner;
    struct shared_bytes *frame = hub_event_frame(e, HUB_FRAME_SSE, build_frame);

    if (sse_unsent(f->sse) + frame->len > FEED_UNSENT_HIGH) {
        hub_stream_hold(s);
        sse_await_drained(f->sse);
    }
    sse_write_shared(f->sse, frame);
    return true;
}

static void on_gap(struct hub_stream *s, uint64_t first, uint64_t last)
{
    struct feed *f = s->owner;
    AUTO(buf) data = {0}, frame = {0};
    char id[24];
    int n = snprintf(id, sizeof(id), "%llu", (unsigned long long)last);

    buf_put_u8(&data, '{');
    event_gap(&data, first, last);
    buf_put_u8(&data, '}');
    sse_frame(&frame, slice_of(id, (size_t)n), SLICE("gap"), buf_slice(&data));
    sse_write(f->sse, buf_slice(&frame));
}

/* Who comes without a place is told his, so that what breaks before the first event also goes on
 * where it stopped. An id without data: readers keep it and show nothing. */
static void say_place(struct feed *f, bool is_new)
{
    AUTO(buf) frame = {0};

    buf_put_text(&frame, "retry: 1000\n");
    if (is_new) buf_printf(&frame, "id: %llu\n", (unsigned long long)f->stream.cursor);
    buf_put_u8(&frame, '\n');
    sse_write(f->sse, buf_slice(&frame));
}

/* ---- life ---- */

static void on_closed(struct sse *sse)
{
    struct feed *f = sse->owner;

    hub_stream_close(&f->stream);
    free(f);
}

static void on_drained(struct sse *sse)
{
    struct feed *f = sse->owner;

    hub_stream_resume(&f->stream);
}

static void on_end(struct hub_stream *s, err_t why)
{
    struct feed *f = s->owner;

    hub_stream_close(s);
    sse_end(f->sse);
    free(f);
}

/* ---- opening ---- */

static err_t read_position(struct request *r, uint64_t *out)
{
    struct slice header = request_header(r, "last-event-id"), query = request_query(r, "after");
    struct slice text = header.len ? header : query;

    *out = HUB_FROM_NOW;
    if (text.len == 0) return OK;
    if (text_u64(text, out) == OK && *out < INT64_MAX) return OK;
    return fail(BAD_ARGUMENT, "%s must be the number of an event",
                header.len ? "Last-Event-ID" : "after");
}

static err_t check_visible(struct server *s, const struct principal *who, struct slice account)
{
    struct account_status status;

    if (slice_is_none(account) || (directory_status(s->directory, account, &status) &&
                                   principal_sees(who, status.tenant, status.sandbox)))
        return OK;
    return fail(NOT_FOUND, "there is no account " SLICE_FMT, SLICE_ARG(text_cut(account, 60)));
}

/* A chat of somebody else matches nothing that this key sees: the hub looks at each event. */
static err_t read_filters(struct server *s, struct request *r, const struct principal *who,
                          struct feed *f)
{
    struct slice names = request_query(r, "events"), account = request_query(r, "account_id");
    struct slice chat = request_query(r, "chat_id");
    struct event_filter f0 = {0};
    struct view *v;
    err_t e;

    if (names.len) TRY(event_filter_add_names(&f0, names));
    TRY(check_visible(s, who, account));
    TRY(view_new(s->store, &v));
    e = view_begin(v);
    if (e == OK)
        f->stream.filter_count =
            subscription_filter(v, who->tenant, f0.kinds, account, chat, &f->filter);
    view_end(v);
    view_free(v);
    TRY(e);
    return f->stream.filter_count ? OK : fail(BAD_ARGUMENT, "account_id or chat_id is malformed");
}

static err_t prepare(struct server *s, struct request *r, struct feed *f, uint64_t *after)
{
    struct principal who;

    TRY(auth_request(s, r, &who));
    if (!principal_may(&who, RIGHT_READ)) return fail(FORBIDDEN, "this key may not read events");
    TRY(read_position(r, after));
    TRY(read_filters(s, r, &who, f));
    f->stream.who = who;
    f->stream.filters = &f->filter;
    f->stream.on_event = on_event;
    f->stream.on_gap = on_gap;
    f->stream.on_end = on_end;
    f->stream.owner = f;
    return OK;
}

void feed_open(struct request *r)
{
    struct server *s = http_context(r);
    struct hub *hub = hub_at(s->hubs, worker_index(r->worker));
    struct feed *f = xcalloc(sizeof(*f));
    uint64_t after;
    err_t e = prepare(s, r, f, &after);

    if (e != OK) {
        free(f);
        reply_refuse(r, e);
        return;
    }
    if (slice_is(r->method, "HEAD")) { /* would be a stream; an answer to HEAD has no body */
        free(f);
        reply_bytes(r, 200, "text/event-stream", SLICE(""));
        return;
    }
    f->sse = sse_start(r, f, on_closed);
    f->sse->on_drained = on_drained;
    hub_stream_open(hub, &f->stream, after);
    say_place(f, after == HUB_FROM_NOW);
}
