#include "server/mcp/mcp_stream.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/account/account.h"
#include "server/mcp/inside.h"
#include "server/mcp/mcp_events.h"

/* ---- what is written ---- */

static void write_frame(struct mcp_stream *s, const struct buf *frame)
{
    sse_write(s->sse, buf_slice(frame));
}

/* From now on a GET without a position must not begin at the start of the session again. */
static void note_streamed(struct mcp_stream *s)
{
    if (s->told_streamed || s->kind != MCP_STREAM_GET) return;
    s->told_streamed = true;
    session_streamed(s->home, s->session.id);
}

/* The subscription that an event is sent under: the first that matches and is old enough. */
static struct mcp_stream_uri *pick_uri(struct mcp_stream *s, const struct hub_event *e,
                                       uint64_t matched)
{
    for (size_t i = 0; i < s->hub.filter_count; i++) {
        struct mcp_stream_uri *u = &s->uris[s->filter_uris[i]];
        if ((matched >> i & 1) && (e->seq == 0 || e->seq > u->since)) return u;
    }
    return NULL;
}

static void write_for_uri(struct mcp_stream *s, struct hub_event *e, const char *uri)
{
    AUTO(buf) frame = {0};

    if (s->kind == MCP_STREAM_LISTEN) {
        mcp_frame_listen(e, slice_text(uri), s->listen_id, &frame);
        write_frame(s, &frame);
    } else if (strcmp(uri, "whatsapp://events") == 0) {
        sse_write_shared(s->sse, hub_event_frame(e, HUB_FRAME_MCP_RESOURCE, mcp_frame_all_events));
    } else {
        mcp_frame_resource(e, slice_text(uri), &frame);
        write_frame(s, &frame);
    }
}

/* What subscribe_events selected. Who asked for fewer log messages gets a resource update, which is
 * no log message. */
static void write_for_key(struct mcp_stream *s, struct hub_event *e)
{
    if (s->session.wants_vendor)
        sse_write_shared(s->sse, hub_event_frame(e, HUB_FRAME_MCP_VENDOR, mcp_frame_vendor));
    else if (s->session.level <= MCP_INFO)
        sse_write_shared(s->sse, hub_event_frame(e, HUB_FRAME_MCP_LOG, mcp_frame_log));
    else
        write_for_uri(s, e, "whatsapp://events");
}

static bool on_event(struct hub_stream *h, struct hub_event *e, struct hub_match match)
{
    struct mcp_stream *s = h->owner;
    struct mcp_stream_uri *u;

    if (sse_unsent(s->sse) > MCP_STREAM_UNSENT_MAX) {
        sse_await_drained(s->sse);
        return false;
    }
    u = match.own ? pick_uri(s, e, match.own) : NULL;
    if (!u && !match.key) return true;
    note_streamed(s);
    if (u)
        write_for_uri(s, e, u->uri);
    else
        write_for_key(s, e);
    return true;
}

static void on_gap(struct hub_stream *h, uint64_t first, uint64_t last)
{
    struct mcp_stream *s = h->owner;
    AUTO(buf) frame = {0};

    if (s->kind != MCP_STREAM_LISTEN) {
        note_streamed(s);
        mcp_frame_gap(&frame, first, last);
    } else if (s->hub.filter_count) {
        mcp_frame_gap_listen(&frame, slice_text(s->uris[s->filter_uris[0]].uri), s->listen_id,
                             first, last);
    }
    if (frame.len) write_frame(s, &frame);
}

/* ---- what it is subscribed to ---- */

static void free_uris(struct mcp_stream *s)
{
    for (size_t i = 0; i < s->uri_count; i++)
        free(s->uris[i].uri);
    free(s->uris);
    free(s->filters);
    free(s->filter_uris);
    if (s->watch_count) atomic_fetch_sub(&s->home->mcp->watchers, s->watch_count);
    s->watch_count = s->uri_count = s->hub.filter_count = 0;
}

void mcp_stream_set_uris(struct mcp_stream *s, const struct session_uri *uris, size_t n)
{
    size_t filters = 0;

    free_uris(s);
    s->uris = xcalloc(n * sizeof(*s->uris) + 1);
    s->filters = xcalloc(n * sizeof(*s->filters) + 1);
    s->filter_uris = xcalloc(n * sizeof(*s->filter_uris) + 1);
    for (size_t i = 0; i < n; i++) {
        bool is_watch = mcp_uri_is_watch(mcp_uri_parse(slice_text(uris[i].uri)).kind);
        s->uris[i] = (struct mcp_stream_uri){xstrdup(uris[i].uri), is_watch, uris[i].since};
        s->watch_count += is_watch;
        if (is_watch) continue;
        s->filters[filters] = uris[i].filter;
        s->filter_uris[filters++] = (unsigned)i;
    }
    s->uri_count = n;
    s->hub.filters = s->filters;
    s->hub.filter_count = filters;
    if (s->watch_count) atomic_fetch_add(&s->home->mcp->watchers, s->watch_count);
}

/* Whom we knew under two addresses may have been found to be one since, with the numbers of the
 * other. What cannot be looked up stays as it was. */
static void look_up_again(struct mcp_stream *s, struct session_uri *uris, size_t n)
{
    struct event_filter now;

    for (size_t i = 0; i < n; i++) {
        struct slice uri = slice_text(uris[i].uri);
        if (mcp_uri_parse(uri).kind != MCP_URI_CHAT) continue;
        if (mcp_uri_resolve(s->home, &s->hub.who, uri, &now) == OK)
            uris[i].filter = now;
        else
            err_clear();
    }
}

bool mcp_stream_load(struct mcp_stream *s)
{
    struct session_uri *uris;
    size_t n;

    if (!session_uris(s->home, s->session.id, &s->session, &uris, &n)) return false;
    look_up_again(s, uris, n);
    mcp_stream_set_uris(s, uris, n);
    free(uris);
    return true;
}

/* ---- its life ---- */

static void stream_free(struct mcp_stream *s)
{
    hub_stream_close(&s->hub);
    free_uris(s);
    map_remove(&s->home->streams, mcp_key(&s->number));
    if (s->kind == MCP_STREAM_GET) session_leave_stream(s->home, s->session.id, s->number);
    if (s->on_closed) s->on_closed(s);
    free((void *)s->listen_id.data);
    free(s);
}

static void on_sse_closed(struct sse *sse) { stream_free(sse->owner); }

static void on_sse_drained(struct sse *sse)
{
    struct mcp_stream *s = sse->owner;

    hub_stream_resume(&s->hub);
}

/* The orderly end of subscriptions/listen is its result. */
static void write_listen_result(struct mcp_stream *s)
{
    AUTO(buf) result = {0}, response = {0}, frame = {0};

    buf_put_text(&result, "{\"resultType\":\"complete\",\"_meta\":{");
    buf_put_text(&result, "\"io.modelcontextprotocol/subscriptionId\":");
    buf_put(&result, s->listen_id);
    buf_put_text(&result, "}}");
    rpc_write_result(&response, s->listen_id, buf_slice(&result));
    sse_frame(&frame, SLICE_NONE, SLICE("message"), buf_slice(&response));
    write_frame(s, &frame);
}

void mcp_stream_end(struct mcp_stream *s)
{
    if (s->kind == MCP_STREAM_LISTEN) write_listen_result(s);
    sse_end(s->sse);
    stream_free(s);
}

static void on_end(struct hub_stream *h, err_t why) { mcp_stream_end(h->owner); }

struct mcp_stream *mcp_stream_new(struct mcp_worker *w, uint64_t number, enum mcp_stream_kind kind,
                                  const struct principal *who, struct request *r)
{
    struct mcp_stream *s = xcalloc(sizeof(*s));

    s->home = w;
    s->number = number;
    s->kind = kind;
    if (kind != MCP_STREAM_LISTEN) s->lists = w->mcp->offer->changing;
    s->hub.who = *who;
    s->hub.follows_key = kind != MCP_STREAM_LISTEN;
    s->hub.on_event = on_event;
    s->hub.on_gap = on_gap;
    s->hub.on_end = on_end;
    s->hub.owner = s;
    s->sse = sse_start(r, s, on_sse_closed);
    s->sse->on_drained = on_sse_drained;
    map_put(&w->streams, mcp_key(&s->number), s);
    return s;
}

void mcp_stream_follow(struct mcp_stream *s, uint64_t after)
{
    if (!principal_may(&s->hub.who, RIGHT_READ)) return;
    hub_stream_open(mcp_hub(s->home), &s->hub, after);
}

/* ---- from other workers ---- */

void mcp_stream_reload(struct mcp_worker *w, uint64_t number)
{
    struct mcp_stream *s = map_find(&w->streams, mcp_key(&number));

    if (!s) return;
    mcp_stream_load(s);
    /* An /sse client hears events once its handshake is done. */
    if (s->kind == MCP_STREAM_SSE && s->session.initialized && !s->hub.hub)
        mcp_stream_follow(s, HUB_FROM_NOW);
}

void mcp_stream_close(struct mcp_worker *w, uint64_t number)
{
    struct mcp_stream *s = map_find(&w->streams, mcp_key(&number));

    if (s) mcp_stream_end(s);
}

/* ---- account states ---- */

struct status_change {
    struct post post;
    struct mcp_worker *to;
    uint32_t tenant;
    bool sandbox;
    char account[ACCOUNT_ID_MAX];
};

static void tell_status(struct mcp_stream *s, const struct status_change *c)
{
    for (size_t i = 0; i < s->uri_count; i++) {
        struct mcp_uri u = mcp_uri_parse(slice_text(s->uris[i].uri));
        bool is_it = u.kind == MCP_URI_ACCOUNTS ||
                     (u.kind == MCP_URI_ACCOUNT && slice_is(u.name, c->account));
        AUTO(buf) frame = {0};
        if (!is_it) continue;
        mcp_frame_changed(&frame, slice_text(s->uris[i].uri),
                          s->kind == MCP_STREAM_LISTEN ? s->listen_id : SLICE_NONE);
        write_frame(s, &frame);
        return;
    }
}

static bool can_take(struct mcp_stream *s, const struct status_change *c)
{
    return s->watch_count && principal_sees(&s->hub.who, c->tenant, c->sandbox) &&
           sse_unsent(s->sse) <= MCP_STREAM_UNSENT_MAX;
}

static void on_status(struct post *p, struct worker *worker)
{
    struct status_change *c = CONTAINER_OF(p, struct status_change, post);
    struct mcp_stream *s;
    size_t at = 0;

    while ((s = map_next(&c->to->streams, &at, NULL)))
        if (can_take(s, c)) tell_status(s, c);
    free(c);
}

void mcp_on_status(struct server *server, const struct account_status *status)
{
    struct mcp *m = server->mcp;

    if (!m || atomic_load(&m->watchers) == 0) return;
    for (size_t i = 0; i < m->worker_count; i++) {
        struct status_change *c = xcalloc(sizeof(*c));
        *c = (struct status_change){.post.run = on_status,
                                    .to = &m->workers[i],
                                    .tenant = (uint32_t)status->tenant,
                                    .sandbox = status->sandbox};
        memcpy(c->account, status->id, sizeof(c->account));
        worker_post(c->to->worker, &c->post);
    }
}

/* ---- lists ---- */

static const char *list_name(enum mcp_list which)
{
    switch (which) {
    case MCP_LIST_TOOLS: return "tools";
    case MCP_LIST_PROMPTS: return "prompts";
    default: return "resources";
    }
}

struct list_change {
    struct post post;
    struct mcp_worker *to;
    enum mcp_list which;
};

static void tell_list(struct mcp_stream *s, enum mcp_list which)
{
    AUTO(buf) frame = {0};

    mcp_frame_list_changed(&frame, list_name(which),
                           s->kind == MCP_STREAM_LISTEN ? s->listen_id : SLICE_NONE);
    write_frame(s, &frame);
}

static void on_list(struct post *p, struct worker *worker)
{
    struct list_change *c = CONTAINER_OF(p, struct list_change, post);
    struct mcp_stream *s;
    size_t at = 0;

    while ((s = map_next(&c->to->streams, &at, NULL)))
        if ((s->lists & c->which) && sse_unsent(s->sse) <= MCP_STREAM_UNSENT_MAX)
            tell_list(s, c->which);
    free(c);
}

void mcp_list_changed(struct mcp *m, enum mcp_list which)
{
    for (size_t i = 0; i < m->worker_count; i++) {
        struct list_change *c = xcalloc(sizeof(*c));
        *c = (struct list_change){.post.run = on_list, .to = &m->workers[i], .which = which};
        worker_post(c->to->worker, &c->post);
    }
}
