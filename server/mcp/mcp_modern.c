#include "server/mcp/mcp_modern.h"

#include <stdlib.h>

#include "proto/base/text.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_exchange.h"
#include "server/mcp/mcp_stream.h"

/* ---- the envelope ---- */

/* "=?base64?…?=" stands for a value that a header cannot carry. */
static bool header_equals(struct slice header, struct slice value)
{
    static const struct slice open = SLICE("=?base64?"), close = SLICE("?=");
    AUTO(buf) decoded = {0};
    struct slice text = mcp_trim(header);

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
    if (!header_equals(request_header(r, MCP_VERSION_HEADER), version)) return MCP_VERSION_HEADER;
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
    mcp_http_refuse_with(r, 400, id, RPC_BAD_VERSION, buf_slice(&data),
                         arena_text(&r->arena, words));
}

/* Answers what is wrong with the envelope itself. */
static bool check_envelope(struct request *r, const struct rpc_message *m)
{
    const struct json *meta = json_get(m->params, "_meta");
    struct slice version = json_get_text(meta, MCP_META_VERSION);
    const char *wrong;

    if (slice_is_none(version) || json_kind(json_get(meta, MCP_META_CAPABILITIES)) != JSON_OBJ) {
        mcp_http_refuse(r, 400, m->id, RPC_BAD_PARAMS,
                        "params._meta must have \"" MCP_META_VERSION
                        "\", a text, and \"" MCP_META_CAPABILITIES "\", an object");
        return false;
    }
    wrong = wrong_header(r, m, version);
    if (wrong) {
        AUTO(buf) words = {0};
        buf_printf(&words, "The header %s is missing or differs from the body", wrong);
        mcp_http_refuse(r, 400, m->id, RPC_BAD_HEADER, buf_text(&words));
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
        mcp_http_refuse(r, 200, m->id, RPC_BAD_PARAMS, "notifications must be an object");
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

/* ---- POST ---- */

struct slice mcp_version_header(struct request *r)
{
    return mcp_trim(request_header(r, MCP_VERSION_HEADER));
}

bool modern_is(struct request *r, const struct rpc_message *m)
{
    if (json_get(json_get(m->params, "_meta"), MCP_META_VERSION)) return true;
    /* Notifications carry no envelope. */
    return m->kind != RPC_REQUEST && mcp_revision_find(mcp_version_header(r)) == MCP_2026_07_28;
}

void modern_post(struct mcp_worker *w, struct request *r, const struct principal *who,
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
    if (slice_is(m->method, "subscriptions/listen") && mcp_accepts(r, "text/event-stream")) {
        listen_to(w, r, who, m);
        json_free(take);
        return;
    }
    x = exchange_new(w, r, take, MCP_MODERN, NULL, false);
    exchange_ask(x, who, m);
    exchange_started(x);
}
