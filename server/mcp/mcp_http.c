/* Streamable HTTP: both eras on one URL. The body says which era a POST belongs to; what follows
 * from there for the modern one is in mcp_modern.c, how answers travel in mcp_exchange.c. */
#include "server/http/http.h"
#include "server/mcp/inside.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_exchange.h"
#include "server/mcp/mcp_modern.h"
#include "server/mcp/mcp_stream.h"
#include "server/tenant/auth.h"

static struct mcp_worker *worker_of(struct request *r)
{
    struct server *s = http_context(r);

    return mcp_at(s->mcp, r->worker);
}

/* ---- refusing ---- */

void mcp_http_refuse_with(struct request *r, int status, struct slice id, int code,
                          struct slice data, const char *words)
{
    AUTO(buf) body = {0};

    rpc_write_error(&body, id, code, slice_text(words), data);
    reply_json(r, status, buf_slice(&body));
}

void mcp_http_refuse(struct request *r, int status, struct slice id, int code, const char *words)
{
    mcp_http_refuse_with(r, status, id, code, SLICE_NONE, words);
}

/* ---- POST, the older era ---- */

/* The session of the request; answers 400, 404 or 503 itself. */
static bool find_session(struct mcp_worker *w, struct request *r, const struct principal *who,
                         struct slice id, struct session_info *out)
{
    struct slice name = request_header(r, MCP_SESSION_HEADER);
    err_t e;

    if (slice_is_none(name)) {
        mcp_http_refuse(r, 400, id, RPC_REFUSED,
                        "Bad Request: " MCP_SESSION_HEADER " header is required");
        return false;
    }
    e = session_find(w, who, name, out);
    if (e == OK) return true;
    if (e == ERR_NOT_FOUND)
        mcp_http_refuse(r, 404, id, RPC_NO_SESSION, "Session not found");
    else if (e == ERR_TOO_BUSY)
        mcp_http_refuse(r, 503, id, RPC_INTERNAL, "The session is being ended");
    else
        mcp_http_refuse(r, 500, id, RPC_INTERNAL, "The session could not be read");
    return false;
}

/* Absent is fine (2025-03-26 did not have it); unknown is not. */
static bool check_version(struct request *r, struct slice id)
{
    struct slice version = mcp_version_header(r);

    if (slice_is_none(version) || mcp_revision_find(version) < MCP_2026_07_28) return true;
    if (mcp_revision_find(version) == MCP_2026_07_28)
        mcp_http_refuse(r, 400, id, RPC_BAD_PARAMS,
                        "params._meta must have \"" MCP_META_VERSION
                        "\" and \"" MCP_META_CAPABILITIES "\" in this protocol version");
    else
        mcp_http_refuse(
            r, 400, id, RPC_REFUSED,
            "Bad Request: Unsupported protocol version (supported versions: 2024-11-05, "
            "2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28)");
    return false;
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
        mcp_http_refuse(r, 400, SLICE_NONE, RPC_INVALID_REQUEST, wrong);
        json_free(take);
        return;
    }
    x = exchange_new(w, r, take, MCP_SESSION, &session, true);
    for (size_t i = 0; i < json_count(take); i++)
        exchange_take(x, who, json_at(take, i));
    exchange_started(x);
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
        if (m->kind == RPC_RESPONSE) mcp_response(w, &session, m);
        reply_empty(r, 202);
        json_free(take);
        return;
    }
    x = exchange_new(w, r, take, MCP_SESSION, &session, false);
    exchange_ask(x, who, m);
    exchange_started(x);
}

/* ---- POST ---- */

static bool check_types(struct request *r)
{
    if (!mcp_accepts(r, "text/event-stream")) {
        mcp_http_refuse(
            r, 406, SLICE_NONE, RPC_REFUSED,
            "Not Acceptable: Client must accept both application/json and text/event-stream");
        return false;
    }
    if (!mcp_is_media(request_header(r, "content-type"), "application/json")) {
        mcp_http_refuse(r, 415, SLICE_NONE, RPC_REFUSED,
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
        mcp_http_refuse(r, 400, SLICE_NONE, RPC_PARSE_ERROR,
                        "Parse error: the body is not valid JSON");
        return;
    }
    if (json_kind(doc) == JSON_ARR) {
        post_batch(w, r, who, doc);
        return;
    }
    rpc_read(&r->arena, doc, &m);
    if (m.kind == RPC_BAD) {
        mcp_http_refuse(r, 400, m.id, RPC_INVALID_REQUEST, m.wrong);
        json_free(doc);
    } else if (modern_is(r, &m)) {
        modern_post(w, r, who, doc, &m);
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
        mcp_http_refuse(r, 409, SLICE_NONE, RPC_REFUSED,
                        "Conflict: Only one SSE stream is allowed per session");
        return;
    }
    if (!resumes) after = start;
    if (after == HUB_FROM_NOW) after = hub_last(mcp_hub(w), who->tenant);
    reply_header(r, MCP_SESSION_HEADER, slice_text(session->id));
    s = mcp_stream_new(w, number, MCP_STREAM_GET, who, r);
    s->session = *session;
    if (!mcp_stream_load(s)) {
        mcp_stream_end(s);
        return;
    }
    mcp_event_id(&id, after);
    mcp_prime(s->sse, session, buf_slice(&id));
    mcp_stream_follow(s, after);
}

static void get(struct request *r, const struct principal *who)
{
    struct mcp_worker *w = worker_of(r);
    struct slice last = mcp_trim(request_header(r, "last-event-id"));
    struct session_info session;
    struct kept_position at;
    uint64_t after = 0;

    if (!mcp_accepts(r, "text/event-stream")) {
        mcp_http_refuse(r, 406, SLICE_NONE, RPC_REFUSED,
                        "Not Acceptable: Client must accept text/event-stream");
        return;
    }
    if (!check_version(r, SLICE_NONE) || !find_session(w, r, who, SLICE_NONE, &session)) return;
    if (last.len && kept_parse(last, &at)) {
        resume_answer(w, r, &session, &at);
    } else if (last.len && !mcp_event_id_parse(last, &after)) {
        mcp_http_refuse(r, 400, SLICE_NONE, RPC_REFUSED,
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
        mcp_http_refuse(r, 500, SLICE_NONE, RPC_INTERNAL,
                        "The session could not be ended; try again");
}

static void delete (struct request *r, const struct principal *who)
{
    struct mcp_worker *w = worker_of(r);
    struct session_info session;

    if (!check_version(r, SLICE_NONE) || !find_session(w, r, who, SLICE_NONE, &session)) return;
    if (session_end(w, session.id, (struct session_change){on_ended, r->id}) != OK)
        mcp_http_refuse(r, 404, SLICE_NONE, RPC_NO_SESSION, "Session not found");
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
            reply_refuse(r, e);
        else
            handlers[i].handle(r, &who);
        return;
    }
    reply_header(r, "Allow", SLICE("GET, POST, DELETE, OPTIONS"));
    if (slice_is(r->method, "OPTIONS"))
        reply_empty(r, 204);
    else
        mcp_http_refuse(r, 405, SLICE_NONE, RPC_REFUSED, "Method not allowed.");
}
