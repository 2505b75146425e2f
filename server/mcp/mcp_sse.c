/* HTTP+SSE of 2024-11-05: GET /sse opens a stream whose first frame says where to POST; answers
 * come on the stream. A *speaker* is such a client. It lives on the worker of its stream, and so
 * does all its work: a POST that arrives on another worker travels there. */
#include <stdlib.h>

#include "proto/base/text.h"
#include "server/api/edge.h"
#include "server/http/http.h"
#include "server/mcp/inside.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_stream.h"
#include "server/tenant/auth.h"

struct mcp_speaker {
    struct mcp_worker *home;
    struct mcp_stream *stream;
    struct principal who;
    char session[SESSION_TEXT_MAX];
    struct list asks; /* of struct spoken */
};

/* One request of a speaker, with the document it borrows from. */
struct spoken {
    struct list link;
    struct mcp_speaker *speaker;
    struct mcp_ask *ask;
    struct json *doc;
    struct arena arena;
};

static void say(struct mcp_speaker *k, struct slice message)
{
    AUTO(buf) frame = {0};

    sse_frame(&frame, SLICE_NONE, SLICE("message"), message);
    sse_write(k->stream->sse, buf_slice(&frame));
}

static void spoken_free(struct spoken *s)
{
    list_remove(&s->link);
    json_free(s->doc);
    arena_done(&s->arena);
    free(s);
}

static void on_answer(struct mcp_ask *a, struct slice response, int status)
{
    struct spoken *s = a->owner;

    if (!slice_is_none(response)) say(s->speaker, response);
    spoken_free(s);
}

static void on_notify(struct mcp_ask *a, struct slice notification)
{
    say(((struct spoken *)a->owner)->speaker, notification);
}

static void start(struct mcp_speaker *k, const struct session_info *session, struct spoken *s,
                  const struct rpc_message *m)
{
    struct mcp_ask *a = mcp_ask_new(k->home);

    a->era = MCP_SESSION;
    a->who = k->who;
    a->session = *session;
    a->is_volatile = true;
    a->message = *m;
    a->owner = s;
    a->answer = on_answer;
    a->notify = on_notify;
    s->ask = a;
    list_push(&k->asks, &s->link);
    mcp_ask_start(a);
}

/* A message of this client, on its worker. */
static void take(struct mcp_speaker *k, struct json *doc)
{
    struct spoken *s = xcalloc(sizeof(*s));
    struct rpc_message m;
    AUTO(buf) error = {0};

    s->speaker = k;
    s->doc = doc;
    list_init(&s->link);
    rpc_read(&s->arena, doc, &m);
    if (m.kind == RPC_REQUEST) {
        start(k, &k->stream->session, s, &m);
        return;
    }
    if (m.kind == RPC_NOTIFICATION) mcp_notification(k->home, &k->stream->session, &m);
    if (m.kind == RPC_RESPONSE) mcp_response(k->home, &k->stream->session, &m);
    if (m.kind == RPC_BAD) {
        rpc_write_error(&error, m.id, RPC_INVALID_REQUEST, slice_text(m.wrong), SLICE_NONE);
        say(k, buf_slice(&error));
    }
    spoken_free(s);
}

/* ---- GET /sse ---- */

static void on_closed(struct mcp_stream *stream)
{
    struct mcp_speaker *k = stream->owner;

    LIST_EACH(node, &k->asks)
    {
        struct spoken *s = LIST_ENTRY(node, struct spoken, link);
        mcp_ask_abandon(s->ask);
        spoken_free(s);
    }
    map_remove(&k->home->speakers, slice_text(k->session));
    session_drop(k->home, k->session);
    free(k);
}

static void tell_endpoint(struct mcp_speaker *k)
{
    AUTO(buf) frame = {0}, url = {0};

    buf_printf(&url, "/messages?sessionId=%s", k->session);
    sse_frame(&frame, SLICE_NONE, SLICE("endpoint"), buf_slice(&url));
    sse_write(k->stream->sse, buf_slice(&frame));
}

static void open_speaker(struct mcp_worker *w, struct request *r, const struct principal *who,
                         uint64_t number, const char *session, uint64_t after)
{
    struct mcp_speaker *k = xcalloc(sizeof(*k));

    k->home = w;
    k->who = *who;
    memcpy(k->session, session, sizeof(k->session));
    list_init(&k->asks);
    map_put(&w->speakers, slice_text(k->session), k);
    k->stream = mcp_stream_new(w, number, MCP_STREAM_SSE, who, r);
    memcpy(k->stream->session.id, session, sizeof(k->session));
    k->stream->owner = k;
    k->stream->on_closed = on_closed;
    mcp_stream_load(k->stream);
    tell_endpoint(k);
    /* A client that came back by itself (EventSource) does not shake hands again. */
    if (after != HUB_FROM_NOW) mcp_stream_follow(k->stream, after);
}

void mcp_sse_open(struct request *r)
{
    struct server *server = http_context(r);
    struct mcp_worker *w = mcp_at(server->mcp, r->worker);
    char session[SESSION_TEXT_MAX];
    struct principal who;
    uint64_t number = mcp_number(w), after = HUB_FROM_NOW;
    err_t e = auth_request(server, r, &who);

    if (e != OK) {
        reply_refuse(r, e);
        return;
    }
    if (!slice_is(r->method, "GET")) { /* HEAD: there would be no stream to say anything on */
        reply_empty(r, 405);
        return;
    }
    e = session_create_volatile(w, &who, number, session);
    if (e != OK) {
        reply_problem(r, edge_of(e)->status, edge_of(e)->code, "%s", edge_words(e));
        return;
    }
    mcp_event_id_parse(request_header(r, "last-event-id"), &after);
    open_speaker(w, r, &who, number, session, after);
}

/* ---- POST /messages ---- */

struct letter {
    struct post post;
    struct mcp_worker *to;
    struct json *doc;
    char session[SESSION_TEXT_MAX];
};

static void deliver(struct post *p, struct worker *worker)
{
    struct letter *l = CONTAINER_OF(p, struct letter, post);
    struct mcp_speaker *k = map_find(&l->to->speakers, slice_text(l->session));

    if (k)
        take(k, l->doc);
    else
        json_free(l->doc);
    free(l);
}

static void send(struct mcp_worker *to, struct slice session, struct json *doc)
{
    struct letter *l = xcalloc(sizeof(*l));

    l->post.run = deliver;
    l->to = to;
    l->doc = doc;
    memcpy(l->session, session.data, session.len); /* it was found, so it fits */
    worker_post(to->worker, &l->post);
}

void mcp_sse_message(struct request *r)
{
    struct server *server = http_context(r);
    struct slice session = request_query(r, "sessionId");
    struct principal who;
    struct mcp_worker *holder;
    struct json *doc = NULL;
    err_t e = auth_request(server, r, &who);

    if (e != OK) {
        reply_refuse(r, e);
        return;
    }
    if (slice_is_none(session)) {
        reply_problem(r, 400, "invalid_request", "sessionId is missing");
        return;
    }
    holder = session_holder(mcp_at(server->mcp, r->worker), &who, session);
    if (!holder) {
        reply_problem(r, 404, "not_found", "there is no such session; open GET /sse again");
        return;
    }
    if (json_parse(r->body, RPC_MESSAGE_MAX, &doc) != OK || json_kind(doc) != JSON_OBJ) {
        json_free(doc);
        reply_problem(r, 400, "invalid_request", "the body must be one JSON-RPC message");
        return;
    }
    send(holder, session, doc);
    reply_bytes(r, 202, "text/plain", SLICE("Accepted"));
}
