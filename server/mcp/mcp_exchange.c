#include "server/mcp/mcp_exchange.h"

#include <stdlib.h>
#include <strings.h>

#include "proto/base/text.h"

#define RETRY_MS 1000

/* ---- headers ---- */

struct slice mcp_trim(struct slice s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

bool mcp_is_media(struct slice s, const char *type)
{
    s = mcp_trim(slice_sub(s, 0, slice_find(s, ';')));
    return s.len == strlen(type) && strncasecmp((const char *)s.data, type, s.len) == 0;
}

bool mcp_accepts(struct request *r, const char *type)
{
    struct slice rest = request_header(r, "accept"), item;

    if (slice_is_none(rest)) return true;
    while (slice_split(&rest, ',', &item))
        if (mcp_is_media(item, type) || mcp_is_media(item, "*/*")) return true;
    return false;
}

/* Who names streams first gets one, however soon the answer comes. */
static bool prefers_stream(struct request *r)
{
    struct slice rest = request_header(r, "accept"), item;

    if (slice_is_none(rest)) return false;
    while (slice_split(&rest, ',', &item)) {
        if (mcp_is_media(item, "text/event-stream")) return true;
        if (mcp_is_media(item, "application/json") || mcp_is_media(item, "*/*")) return false;
    }
    return false;
}

/* ---- tails: kept answers on a connection ---- */

struct mcp_tail {
    struct mcp_worker *home;
    uint64_t number, kept, after;
    struct sse *sse;
    char session[SESSION_TEXT_MAX];
};

static void tail_free(struct mcp_tail *t)
{
    kept_detach(t->home, t->session, t->kept, t->number);
    map_remove(&t->home->tails, mcp_key(&t->number));
    free(t);
}

static void on_tail_closed(struct sse *s) { tail_free(s->owner); }

static void tail_end(struct mcp_tail *t)
{
    sse_end(t->sse);
    tail_free(t);
}

void mcp_prime(struct sse *sse, const struct session_info *session, struct slice id)
{
    AUTO(buf) frame = {0};

    if (session->revision < MCP_2025_11_25) return;
    buf_printf(&frame, "id: " SLICE_FMT "\nretry: %d\ndata: \n\n", SLICE_ARG(id), RETRY_MS);
    sse_write(sse, buf_slice(&frame));
}

void tail_open(struct mcp_worker *w, struct request *r, const struct session_info *session,
               const struct kept_position *at)
{
    struct mcp_tail *t = xcalloc(sizeof(*t));
    AUTO(buf) id = {0};

    kept_print(&id, at->kept, at->rpc_id, at->frame); /* before the request is gone */
    t->home = w;
    t->number = mcp_number(w);
    t->kept = at->kept;
    t->after = at->frame;
    memcpy(t->session, session->id, sizeof(t->session));
    map_put(&w->tails, mcp_key(&t->number), t);
    reply_header(r, MCP_SESSION_HEADER, slice_text(session->id));
    t->sse = sse_start(r, t, on_tail_closed);
    mcp_prime(t->sse, session, buf_slice(&id));
    kept_attach(w, t->session, t->kept, t->number);
    mcp_tail_read(w, t->number);
}

void mcp_tail_read(struct mcp_worker *w, uint64_t number)
{
    struct mcp_tail *t = map_find(&w->tails, mcp_key(&number));
    AUTO(buf) frames = {0};
    bool ended = false, found;

    if (!t) return;
    found = kept_read(w, t->session, t->kept, &t->after, &frames, &ended);
    if (frames.len) sse_write(t->sse, buf_slice(&frames));
    if (ended || !found) tail_end(t);
}

void mcp_tail_close(struct mcp_worker *w, uint64_t number)
{
    struct mcp_tail *t = map_find(&w->tails, mcp_key(&number));

    if (t) tail_end(t);
}

/* ---- exchanges ---- */

struct exchange {
    struct list link; /* of its worker */
    struct mcp_worker *home;
    struct json *doc;
    struct arena arena;
    enum mcp_era era;
    struct session_info session;
    uint64_t http; /* the request, while the answer is no stream */
    bool is_batch, may_stream, must_stream;
    uint64_t first_ask; /* of a single one */
    struct slice rpc_id;
    size_t left; /* answers to come, and one while they are being started */
    struct buf answers;
    size_t answered;
    int status;
    struct timer late;
    uint64_t kept;   /* a stream of the older era */
    struct sse *sse; /* one without replay */
    char new_session[SESSION_TEXT_MAX];
};

static void exchange_free(struct exchange *x)
{
    timer_disarm(x->home->worker, &x->late);
    list_remove(&x->link);
    buf_done(&x->answers);
    json_free(x->doc);
    arena_done(&x->arena);
    free(x);
}

void mcp_exchanges_free(struct mcp_worker *w)
{
    LIST_EACH(node, &w->exchanges)
    exchange_free(LIST_ENTRY(node, struct exchange, link));
}

/* The modern client hung up: cancelled. */
static void cancelled(struct exchange *x)
{
    struct mcp_ask *a = mcp_ask_find(x->home, x->first_ask);

    if (a) mcp_ask_abandon(a);
    exchange_free(x);
}

static void on_request_gone(struct request *r) { cancelled(r->state); }

static void on_stream_gone(struct sse *s)
{
    struct exchange *x = s->owner;

    x->sse = NULL;
    if (x->era == MCP_MODERN) cancelled(x);
}

static bool is_stream(const struct exchange *x) { return x->kept || x->sse; }

static void stream_message(struct exchange *x, struct slice message)
{
    AUTO(buf) frame = {0};

    if (x->kept) {
        kept_add(x->home, x->session.id, x->kept, message, false);
        return;
    }
    if (!x->sse) return;
    sse_frame(&frame, SLICE_NONE, SLICE("message"), message);
    sse_write(x->sse, buf_slice(&frame));
}

static void name_session(struct exchange *x, struct request *r)
{
    if (*x->new_session)
        reply_header(r, MCP_SESSION_HEADER, slice_text(x->new_session));
    else if (*x->session.id)
        reply_header(r, MCP_SESSION_HEADER, slice_text(x->session.id));
}

/* The answer becomes a stream. False when the client is gone, or the stream cannot be. */
static bool become_stream(struct exchange *x)
{
    struct request *r = x->http ? request_find(x->home->worker, x->http) : NULL;
    struct kept_position at = {0};
    /* The header names it, so an initialize has no stream before its session is there. */
    bool awaits_session = x->era == MCP_SESSION && !*x->session.id && x->left;

    timer_disarm(x->home->worker, &x->late);
    if (!r || awaits_session) return false;
    x->http = 0;
    r->on_gone = NULL;
    if (*x->session.id) at.kept = kept_open(x->home, x->session.id, x->rpc_id);
    if (at.kept) {
        uint64_t ignored;
        at.rpc_id = x->rpc_id.len && text_u64(x->rpc_id, &ignored) == OK ? x->rpc_id : SLICE_NONE;
        x->kept = at.kept;
        tail_open(x->home, r, &x->session, &at);
    } else {
        name_session(x, r);
        x->sse = sse_start(r, x, on_stream_gone);
    }
    return true;
}

/* What a batch has answered so far, as a batch; or the one answer. */
static struct slice gathered(struct exchange *x)
{
    if (!x->is_batch) return buf_slice(&x->answers);
    return arena_printf(&x->arena, "[" SLICE_FMT "]", SLICE_ARG(buf_slice(&x->answers)));
}

static void flush_gathered(struct exchange *x)
{
    if (x->answered) stream_message(x, gathered(x));
    x->answered = 0;
    buf_reset(&x->answers);
}

static void on_late(struct timer *t, int64_t now)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, late);

    if (become_stream(x)) flush_gathered(x);
}

static void answer_request(struct exchange *x)
{
    struct request *r = x->http ? request_find(x->home->worker, x->http) : NULL;

    if (!r) return; /* an old client that left: its work is done all the same */
    r->on_gone = NULL;
    name_session(x, r);
    if (x->answered)
        reply_json(r, x->is_batch ? 200 : x->status, gathered(x));
    else
        reply_empty(r, 202); /* cancelled: nothing may be said */
}

static void finish(struct exchange *x)
{
    if (x->must_stream && !is_stream(x) && become_stream(x)) flush_gathered(x);
    if (x->kept)
        kept_add(x->home, x->session.id, x->kept, SLICE_NONE, true);
    else if (x->sse)
        sse_end(x->sse);
    else
        answer_request(x);
    exchange_free(x);
}

static void one_less(struct exchange *x)
{
    if (--x->left == 0) finish(x);
}

static void gather(struct exchange *x, struct slice response, int status)
{
    if (x->answered++) buf_put_u8(&x->answers, ',');
    buf_put(&x->answers, response);
    x->status = status;
}

static void on_answer(struct mcp_ask *a, struct slice response, int status)
{
    struct exchange *x = a->owner;

    memcpy(x->new_session, a->new_session, sizeof(x->new_session));
    if (!slice_is_none(response)) {
        if (is_stream(x))
            stream_message(x, response);
        else
            gather(x, response, status);
    }
    one_less(x);
}

/* Whether the client can fetch what comes later: revisions before 2025-11-25 are not told the
 * stream's position at its start. */
static bool can_come_back(const struct exchange *x)
{
    return x->era == MCP_SESSION && *x->session.id && x->session.revision >= MCP_2025_11_25;
}

static void on_hang_up(struct mcp_ask *a)
{
    struct exchange *x = a->owner;

    if (!can_come_back(x) || !x->may_stream) return;
    if (!is_stream(x) && become_stream(x)) flush_gathered(x);
    if (x->kept) kept_hang_up(x->home, x->session.id, x->kept);
}

static void on_notify(struct mcp_ask *a, struct slice notification)
{
    struct exchange *x = a->owner;

    if (!is_stream(x) && x->may_stream && become_stream(x)) flush_gathered(x);
    if (is_stream(x)) stream_message(x, notification);
}

struct exchange *exchange_new(struct mcp_worker *w, struct request *r, struct json *take,
                              enum mcp_era era, const struct session_info *session, bool is_batch)
{
    struct exchange *x = xcalloc(sizeof(*x));

    list_push(&w->exchanges, &x->link);
    x->home = w;
    x->doc = take;
    x->era = era;
    if (session) x->session = *session;
    x->is_batch = is_batch;
    if (era == MCP_MODERN) {
        x->session.revision = MCP_2026_07_28;
        r->state = x;
        r->on_gone = on_request_gone;
    }
    x->http = r->id;
    x->left = 1;
    x->status = 200;
    x->may_stream = mcp_accepts(r, "text/event-stream");
    x->must_stream = prefers_stream(r);
    x->late.fire = on_late;
    if (x->may_stream) timer_arm(w->worker, &x->late, worker_now(w->worker) + MCP_LATE_MS);
    return x;
}

void exchange_ask(struct exchange *x, const struct principal *who, const struct rpc_message *m)
{
    struct mcp_ask *a = mcp_ask_new(x->home);

    a->era = x->era;
    a->who = *who;
    a->session = x->session;
    a->message = *m;
    a->message.id = arena_dup(&x->arena, m->id); /* outlives the request */
    a->owner = x;
    a->answer = on_answer;
    a->notify = on_notify;
    a->hang_up = on_hang_up;
    x->left++;
    if (!x->is_batch) {
        x->first_ask = a->number;
        x->rpc_id = a->message.id;
    }
    mcp_ask_start(a);
}

void exchange_take(struct exchange *x, const struct principal *who, const struct json *j)
{
    struct rpc_message m;
    AUTO(buf) error = {0};

    rpc_read(&x->arena, j, &m);
    switch (m.kind) {
    case RPC_REQUEST: exchange_ask(x, who, &m); break;
    case RPC_NOTIFICATION: mcp_notification(x->home, &x->session, &m); break;
    case RPC_RESPONSE: mcp_response(x->home, &x->session, &m); break;
    case RPC_BAD:
        rpc_write_error(&error, m.id, RPC_INVALID_REQUEST, slice_text(m.wrong), SLICE_NONE);
        gather(x, buf_slice(&error), 200);
        break;
    }
}

void exchange_started(struct exchange *x) { one_less(x); }
