/* Streamable HTTP: both eras on one URL. The body says which era a POST belongs to.
 *
 * An *exchange* is one POST with requests in it: it gathers the answers and sends them as JSON, or
 * becomes an event stream when something is to be said before the end (progress), when the answer
 * takes longer than MCP_LATE_MS, or when the client takes nothing else. In the older era such a
 * stream is kept frame by frame with the session (mcp_session.h) and written to the connection by
 * a *tail*, so that a client whose connection broke fetches the rest with GET and Last-Event-ID; a
 * lost connection cancels nothing. In the modern era there is no replay, and a client that closes
 * the stream has cancelled. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "proto/base/text.h"
#include "server/http/http.h"
#include "server/mcp/inside.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_stream.h"
#include "server/tenant/auth.h"

#define SESSION_HEADER "Mcp-Session-Id"
#define VERSION_HEADER "MCP-Protocol-Version"
#define META_VERSION "io.modelcontextprotocol/protocolVersion"
#define META_CAPABILITIES "io.modelcontextprotocol/clientCapabilities"
#define RETRY_MS 1000

static struct mcp_worker *worker_of(struct request *r)
{
    struct server *s = http_context(r);

    return mcp_at(s->mcp, r->worker);
}

/* ---- refusing ---- */

static void refuse_with(struct request *r, int status, struct slice id, int code, struct slice data,
                        const char *words)
{
    AUTO(buf) body = {0};

    rpc_write_error(&body, id, code, slice_text(words), data);
    reply_json(r, status, buf_slice(&body));
}

static void refuse(struct request *r, int status, struct slice id, int code, const char *words)
{
    refuse_with(r, status, id, code, SLICE_NONE, words);
}

/* ---- headers ---- */

static struct slice trim(struct slice s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static bool is_media(struct slice s, const char *type)
{
    s = trim(slice_sub(s, 0, slice_find(s, ';')));
    return s.len == strlen(type) && strncasecmp((const char *)s.data, type, s.len) == 0;
}

/* Whether the Accept header names the type, or anything; without the header anything goes. */
static bool accepts(struct request *r, const char *type)
{
    struct slice rest = request_header(r, "accept"), item;

    if (slice_is_none(rest)) return true;
    while (slice_split(&rest, ',', &item))
        if (is_media(item, type) || is_media(item, "*/*")) return true;
    return false;
}

static struct slice version_header(struct request *r)
{
    return trim(request_header(r, VERSION_HEADER));
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

/* The first frame of a resumable stream: a position without data, and how soon to come back.
 * Clients of older revisions would take the empty data for JSON. */
static void prime(struct sse *sse, const struct session_info *session, struct slice id)
{
    AUTO(buf) frame = {0};

    if (session->revision < MCP_2025_11_25) return;
    buf_printf(&frame, "id: " SLICE_FMT "\nretry: %d\ndata: \n\n", SLICE_ARG(id), RETRY_MS);
    sse_write(sse, buf_slice(&frame));
}

static void tail_open(struct mcp_worker *w, struct request *r, const struct session_info *session,
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
    reply_header(r, SESSION_HEADER, slice_text(session->id));
    t->sse = sse_start(r, t, on_tail_closed);
    prime(t->sse, session, buf_slice(&id));
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
        reply_header(r, SESSION_HEADER, slice_text(x->new_session));
    else if (*x->session.id)
        reply_header(r, SESSION_HEADER, slice_text(x->session.id));
}

/* The answer becomes a stream. False when the client is gone, or the stream cannot be. */
static bool become_stream(struct exchange *x)
{
    struct request *r = x->http ? request_find(x->home->worker, x->http) : NULL;
    struct kept_position at = {0};

    timer_disarm(x->home->worker, &x->late);
    if (!r) return false;
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

static void on_notify(struct mcp_ask *a, struct slice notification)
{
    struct exchange *x = a->owner;

    if (!is_stream(x) && x->may_stream && become_stream(x)) flush_gathered(x);
    if (is_stream(x)) stream_message(x, notification);
}

static struct exchange *exchange_new(struct mcp_worker *w, struct request *r, struct json *take,
                                     enum mcp_era era)
{
    struct exchange *x = xcalloc(sizeof(*x));

    list_push(&w->exchanges, &x->link);
    x->home = w;
    x->doc = take;
    x->era = era;
    x->http = r->id;
    x->left = 1;
    x->status = 200;
    x->may_stream = accepts(r, "text/event-stream");
    x->must_stream = !accepts(r, "application/json");
    x->late.fire = on_late;
    if (x->may_stream) timer_arm(w->worker, &x->late, worker_now(w->worker) + MCP_LATE_MS);
    return x;
}

static void start_ask(struct exchange *x, const struct principal *who, const struct rpc_message *m)
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
    x->left++;
    if (!x->is_batch) {
        x->first_ask = a->number;
        x->rpc_id = a->message.id;
    }
    mcp_ask_start(a);
}

/* ---- POST, the older era ---- */

/* The session of the request; answers 400 or 404 itself. */
static bool find_session(struct mcp_worker *w, struct request *r, const struct principal *who,
                         struct slice id, struct session_info *out)
{
    struct slice name = request_header(r, SESSION_HEADER);
    err_t e;

    if (slice_is_none(name)) {
        refuse(r, 400, id, RPC_REFUSED, "Bad Request: " SESSION_HEADER " header is required");
        return false;
    }
    e = session_find(w, who, name, out);
    if (e == OK) return true;
    if (e == ERR_NOT_FOUND)
        refuse(r, 404, id, RPC_NO_SESSION, "Session not found");
    else
        refuse(r, 500, id, RPC_INTERNAL, "The session could not be read");
    return false;
}

/* Absent is fine (2025-03-26 did not have it); unknown is not. */
static bool check_version(struct request *r, struct slice id)
{
    struct slice version = version_header(r);

    if (slice_is_none(version) || mcp_revision_find(version) < MCP_2026_07_28) return true;
    if (mcp_revision_find(version) == MCP_2026_07_28)
        refuse(r, 400, id, RPC_BAD_PARAMS,
               "params._meta must have \"" META_VERSION "\" and \"" META_CAPABILITIES
               "\" in this protocol version");
    else
        refuse(r, 400, id, RPC_REFUSED,
               "Bad Request: Unsupported protocol version (supported versions: 2024-11-05, "
               "2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28)");
    return false;
}

static void take_message(struct exchange *x, const struct principal *who, const struct json *j)
{
    struct rpc_message m;
    AUTO(buf) error = {0};

    rpc_read(&x->arena, j, &m);
    switch (m.kind) {
    case RPC_REQUEST: start_ask(x, who, &m); break;
    case RPC_NOTIFICATION: mcp_notification(x->home, &x->session, &m); break;
    case RPC_RESPONSE: break; /* we ask clients nothing */
    case RPC_BAD:
        rpc_write_error(&error, m.id, RPC_INVALID_REQUEST, slice_text(m.wrong), SLICE_NONE);
        gather(x, buf_slice(&error), 200);
        break;
    }
}

static const char *wrong_batch(const struct json *doc, const struct session_info *session)
{
    if (session->revision != MCP_2025_03_26)
        return "a batch is not allowed in this protocol version";
    if (json_count(doc) == 0) return "an empty batch";
    if (json_count(doc) > RPC_BATCH_MAX) return "a batch has at most 100 messages";
    for (size_t i = 0; i < json_count(doc); i++)
        if (slice_is(json_get_text(json_at(doc, i), "method"), "initialize"))
            return "initialize must not be part of a batch";
    return NULL;
}

static void post_batch(struct mcp_worker *w, struct request *r, const struct principal *who,
                       struct json *take)
{
    struct session_info session;
    struct exchange *x;
    const char *wrong;

    if (!find_session(w, r, who, SLICE_NONE, &session) || !check_version(r, SLICE_NONE)) {
        json_free(take);
        return;
    }
    wrong = wrong_batch(take, &session);
    if (wrong) {
        refuse(r, 400, SLICE_NONE, RPC_INVALID_REQUEST, wrong);
        json_free(take);
        return;
    }
    x = exchange_new(w, r, take, MCP_SESSION);
    x->session = session;
    x->is_batch = true;
    for (size_t i = 0; i < json_count(take); i++)
        take_message(x, who, json_at(take, i));
    one_less(x);
}

static void post_session(struct mcp_worker *w, struct request *r, const struct principal *who,
                         struct json *take, const struct rpc_message *m)
{
    bool opens = m->kind == RPC_REQUEST && slice_is(m->method, "initialize");
    struct session_info session = {0};
    struct exchange *x;

    if (!check_version(r, m->id) || (!opens && !find_session(w, r, who, m->id, &session))) {
        json_free(take);
        return;
    }
    if (m->kind != RPC_REQUEST) {
        if (m->kind == RPC_NOTIFICATION) mcp_notification(w, &session, m);
        reply_empty(r, 202);
        json_free(take);
        return;
    }
    x = exchange_new(w, r, take, MCP_SESSION);
    x->session = session;
    start_ask(x, who, m);
    one_less(x);
}

/* ---- POST, the modern era ---- */

/* "=?base64?…?=" stands for a value that a header cannot carry. */
static bool header_equals(struct slice header, struct slice value)
{
    static const struct slice open = SLICE("=?base64?"), close = SLICE("?=");
    AUTO(buf) decoded = {0};
    struct slice text = trim(header);

    if (slice_is_none(header)) return false;
    if (!slice_starts_with(text, open)) return slice_eq(text, value);
    text = slice_from(text, open.len);
    if (text.len < close.len || !slice_eq(slice_from(text, text.len - close.len), close))
        return false;
    text.len -= close.len;
    return text_unbase64(text, &decoded) == OK && slice_eq(buf_slice(&decoded), value);
}

static const struct {
    const char *method, *param;
} named_methods[] = {{"tools/call", "name"}, {"prompts/get", "name"}, {"resources/read", "uri"}};

/* The header that does not say what the body says, NULL when all agree. */
static const char *wrong_header(struct request *r, const struct rpc_message *m,
                                struct slice version)
{
    if (!header_equals(request_header(r, VERSION_HEADER), version)) return VERSION_HEADER;
    if (!header_equals(request_header(r, "Mcp-Method"), m->method)) return "Mcp-Method";
    for (size_t i = 0; i < ARRAY_LEN(named_methods); i++) {
        struct slice name = json_get_text(m->params, named_methods[i].param);
        if (slice_is(m->method, named_methods[i].method) && !slice_is_none(name) &&
            !header_equals(request_header(r, "Mcp-Name"), name))
            return "Mcp-Name";
    }
    return NULL;
}

static void refuse_version(struct request *r, struct slice id, struct slice requested)
{
    AUTO(buf) data = {0};
    struct pen p = pen_on(&data);
    struct slice words = arena_printf(&r->arena, "Unsupported protocol version: " SLICE_FMT,
                                      SLICE_ARG(text_cut(requested, 64)));

    pen_object(&p, NULL);
    pen_array(&p, "supported");
    pen_word(&p, NULL, mcp_revision_text(MCP_2026_07_28));
    pen_end(&p);
    pen_text(&p, "requested", requested);
    pen_end(&p);
    refuse_with(r, 400, id, RPC_BAD_VERSION, buf_slice(&data), arena_text(&r->arena, words));
}

/* Answers what is wrong with the envelope itself. */
static bool check_envelope(struct request *r, const struct rpc_message *m)
{
    const struct json *meta = json_get(m->params, "_meta");
    struct slice version = json_get_text(meta, META_VERSION);
    const char *wrong;

    if (slice_is_none(version) || json_kind(json_get(meta, META_CAPABILITIES)) != JSON_OBJ) {
        refuse(r, 400, m->id, RPC_BAD_PARAMS,
               "params._meta must have \"" META_VERSION "\", a text, and \"" META_CAPABILITIES
               "\", an object");
        return false;
    }
    wrong = wrong_header(r, m, version);
    if (wrong) {
        AUTO(buf) words = {0};
        buf_printf(&words, "The header %s is missing or differs from the body", wrong);
        refuse(r, 400, m->id, RPC_BAD_HEADER, buf_text(&words));
        return false;
    }
    if (mcp_revision_find(version) != MCP_2026_07_28) {
        refuse_version(r, m->id, version);
        return false;
    }
    return true;
}

/* ---- subscriptions/listen ---- */

/* The URIs that we can watch for this key; others are not honoured. */
static size_t honour(struct mcp_worker *w, const struct principal *who, const struct json *wanted,
                     struct session_uri *out)
{
    size_t n = 0;

    for (size_t i = 0; i < json_count(wanted) && n < SESSION_URIS_MAX; i++) {
        struct slice uri = json_text(json_at(wanted, i));
        struct session_uri u = {0};
        if (uri.len > SESSION_URI_MAX || mcp_uri_resolve(w, who, uri, &u.filter) != OK) continue;
        memcpy(u.uri, uri.data, uri.len);
        out[n++] = u;
    }
    return n;
}

static void acknowledge(struct mcp_stream *s, const struct session_uri *uris, size_t n)
{
    AUTO(buf) params = {0}, note = {0}, frame = {0};
    struct pen p = pen_on(&params);

    pen_object(&p, NULL);
    pen_object(&p, "notifications");
    if (n) {
        pen_array(&p, "resourceSubscriptions");
        for (size_t i = 0; i < n; i++)
            pen_word(&p, NULL, uris[i].uri);
        pen_end(&p);
    }
    pen_end(&p);
    pen_object(&p, "_meta");
    pen_raw(&p, "io.modelcontextprotocol/subscriptionId", s->listen_id);
    pen_end(&p);
    pen_end(&p);
    rpc_write_notification(&note, "notifications/subscriptions/acknowledged", buf_slice(&params));
    sse_frame(&frame, SLICE_NONE, SLICE("message"), buf_slice(&note));
    sse_write(s->sse, buf_slice(&frame));
}

static void listen_to(struct mcp_worker *w, struct request *r, const struct principal *who,
                      const struct rpc_message *m)
{
    const struct json *wanted = json_get(m->params, "notifications");
    struct session_uri *uris;
    struct mcp_stream *s;
    char *id;
    size_t n;

    if (json_kind(wanted) != JSON_OBJ) {
        refuse(r, 200, m->id, RPC_BAD_PARAMS, "notifications must be an object");
        return;
    }
    id = xstrdup(arena_text(&r->arena, m->id)); /* the request ends with the stream's start */
    uris = xcalloc(SESSION_URIS_MAX * sizeof(*uris));
    n = honour(w, who, json_get(wanted, "resourceSubscriptions"), uris);
    s = mcp_stream_new(w, mcp_number(w), MCP_STREAM_LISTEN, who, r);
    s->listen_id = slice_text(id); /* owned */
    mcp_stream_set_uris(s, uris, n);
    acknowledge(s, uris, n);
    mcp_stream_follow(s, HUB_FROM_NOW);
    free(uris);
}

static void post_modern(struct mcp_worker *w, struct request *r, const struct principal *who,
                        struct json *take, const struct rpc_message *m)
{
    struct exchange *x;

    if (m->kind != RPC_REQUEST) {
        reply_empty(r, 202);
        json_free(take);
        return;
    }
    if (!check_envelope(r, m)) {
        json_free(take);
        return;
    }
    if (slice_is(m->method, "subscriptions/listen") && accepts(r, "text/event-stream")) {
        listen_to(w, r, who, m);
        json_free(take);
        return;
    }
    x = exchange_new(w, r, take, MCP_MODERN);
    r->state = x;
    r->on_gone = on_request_gone;
    x->session.revision = MCP_2026_07_28;
    start_ask(x, who, m);
    one_less(x);
}

/* ---- POST ---- */

static bool is_modern(struct request *r, const struct rpc_message *m)
{
    if (json_get(json_get(m->params, "_meta"), META_VERSION)) return true;
    /* Notifications carry no envelope. */
    return m->kind != RPC_REQUEST && mcp_revision_find(version_header(r)) == MCP_2026_07_28;
}

static bool check_types(struct request *r)
{
    if (!accepts(r, "text/event-stream")) {
        refuse(r, 406, SLICE_NONE, RPC_REFUSED,
               "Not Acceptable: Client must accept both application/json and text/event-stream");
        return false;
    }
    if (!is_media(request_header(r, "content-type"), "application/json")) {
        refuse(r, 415, SLICE_NONE, RPC_REFUSED,
               "Unsupported Media Type: Content-Type must be application/json");
        return false;
    }
    return true;
}

static void post(struct request *r, const struct principal *who)
{
    struct mcp_worker *w = worker_of(r);
    struct json *doc = NULL;
    struct rpc_message m;

    if (!check_types(r)) return;
    if (json_parse(r->body, RPC_MESSAGE_MAX, &doc) != OK) {
        refuse(r, 400, SLICE_NONE, RPC_PARSE_ERROR, "Parse error: the body is not valid JSON");
        return;
    }
    if (json_kind(doc) == JSON_ARR) {
        post_batch(w, r, who, doc);
        return;
    }
    rpc_read(&r->arena, doc, &m);
    if (m.kind == RPC_BAD) {
        refuse(r, 400, m.id, RPC_INVALID_REQUEST, m.wrong);
        json_free(doc);
    } else if (is_modern(r, &m)) {
        post_modern(w, r, who, doc, &m);
    } else {
        post_session(w, r, who, doc, &m);
    }
}

/* ---- GET ---- */

/* The rest of an answer that became a stream. */
static void resume_answer(struct mcp_worker *w, struct request *r,
                          const struct session_info *session, const struct kept_position *at)
{
    uint64_t end = at->frame;
    AUTO(buf) skipped = {0}, id = {0}, error = {0}, frame = {0};
    bool ended = false;
    struct sse *sse;

    if (kept_read(w, session->id, at->kept, &end, &skipped, &ended)) {
        /* All was received: 405 is what makes the SDKs rest; after an empty stream they ask again.
         */
        if (ended && end <= at->frame)
            reply_empty(r, 405);
        else
            tail_open(w, r, session, at);
        return;
    }
    if (at->frame == KEPT_LOST || slice_is_none(at->rpc_id)) {
        reply_empty(r, 405);
        return;
    }
    /* Lost with the process before this one, or too old: the caller need not wait any longer. */
    kept_print(&id, at->kept, at->rpc_id, KEPT_LOST);
    rpc_write_error(&error, at->rpc_id, RPC_INTERNAL,
                    SLICE("The answer was lost: the server restarted, or it was fetched too late. "
                          "Ask again."),
                    SLICE_NONE);
    sse_frame(&frame, buf_slice(&id), SLICE("message"), buf_slice(&error));
    sse = sse_start(r, NULL, NULL);
    sse_write(sse, buf_slice(&frame));
    sse_end(sse);
}

static void open_stream(struct mcp_worker *w, struct request *r, const struct principal *who,
                        const struct session_info *session, bool resumes, uint64_t after)
{
    uint64_t number = mcp_number(w), start = 0;
    struct mcp_stream *s;
    AUTO(buf) id = {0};

    if (!session_take_stream(w, session->id, number, resumes, &start)) {
        refuse(r, 409, SLICE_NONE, RPC_REFUSED,
               "Conflict: Only one SSE stream is allowed per session");
        return;
    }
    if (!resumes) after = start;
    if (after == HUB_FROM_NOW) after = hub_last(mcp_hub(w), who->tenant);
    reply_header(r, SESSION_HEADER, slice_text(session->id));
    s = mcp_stream_new(w, number, MCP_STREAM_GET, who, r);
    s->session = *session;
    if (!mcp_stream_load(s)) {
        mcp_stream_end(s);
        return;
    }
    mcp_event_id(&id, after);
    prime(s->sse, session, buf_slice(&id));
    mcp_stream_follow(s, after);
}

static void get(struct request *r, const struct principal *who)
{
    struct mcp_worker *w = worker_of(r);
    struct slice last = trim(request_header(r, "last-event-id"));
    struct session_info session;
    struct kept_position at;
    uint64_t after = 0;

    if (!accepts(r, "text/event-stream")) {
        refuse(r, 406, SLICE_NONE, RPC_REFUSED,
               "Not Acceptable: Client must accept text/event-stream");
        return;
    }
    if (!check_version(r, SLICE_NONE) || !find_session(w, r, who, SLICE_NONE, &session)) return;
    if (last.len && kept_parse(last, &at)) {
        resume_answer(w, r, &session, &at);
    } else if (last.len && !mcp_event_id_parse(last, &after)) {
        refuse(r, 400, SLICE_NONE, RPC_REFUSED,
               "Bad Request: Last-Event-ID was not given out here");
    } else {
        open_stream(w, r, who, &session, last.len > 0, after);
    }
}

/* ---- DELETE ---- */

static void on_ended(struct mcp_worker *w, uint64_t number, err_t e, const char *session)
{
    struct request *r = request_find(w->worker, number);

    if (!r) return;
    if (e == OK)
        reply_empty(r, 200);
    else
        refuse(r, 500, SLICE_NONE, RPC_INTERNAL, "The session could not be ended; try again");
}

static void delete (struct request *r, const struct principal *who)
{
    struct mcp_worker *w = worker_of(r);
    struct session_info session;

    if (!check_version(r, SLICE_NONE) || !find_session(w, r, who, SLICE_NONE, &session)) return;
    if (session_end(w, session.id, (struct session_change){on_ended, r->id}) != OK)
        refuse(r, 404, SLICE_NONE, RPC_NO_SESSION, "Session not found");
}

/* ---- the URL ---- */

static const struct {
    const char *method;
    void (*handle)(struct request *r, const struct principal *who);
} handlers[] = {{"POST", post}, {"GET", get}, {"DELETE", delete}};

void mcp_http_handle(struct request *r)
{
    struct principal who;
    err_t e;

    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        if (!slice_is(r->method, handlers[i].method)) continue;
        e = auth_request(http_context(r), r, &who);
        if (e != OK)
            auth_refuse(r, e);
        else
            handlers[i].handle(r, &who);
        return;
    }
    reply_header(r, "Allow", SLICE("GET, POST, DELETE, OPTIONS"));
    if (slice_is(r->method, "OPTIONS"))
        reply_empty(r, 204);
    else
        refuse(r, 405, SLICE_NONE, RPC_REFUSED, "Method not allowed.");
}
