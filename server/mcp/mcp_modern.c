#include "server/mcp/mcp_modern.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_exchange.h"
#include "server/mcp/mcp_stream.h"

/* ---- the envelope ---- */

/* "=?base64?…?=" stands for a value that a header cannot carry; with only one of its two ends a
 * value is what it says. */
static bool is_encoded(struct slice *text)
{
    static const struct slice open = SLICE("=?base64?"), close = SLICE("?=");

    if (text->len < open.len + close.len || !slice_starts_with(*text, open) ||
        !slice_eq(slice_from(*text, text->len - close.len), close))
        return false;
    *text = slice_sub(*text, open.len, text->len - close.len);
    return true;
}

static bool header_equals(struct slice header, struct slice value)
{
    struct slice text = mcp_trim(header);
    AUTO(buf) encoded = {0};

    if (slice_is_none(header)) return false;
    if (!is_encoded(&text)) return slice_eq(text, value);
    text_base64(value, &encoded); /* there is one right way to write it */
    return slice_eq(text, buf_slice(&encoded));
}

static const struct {
    const char *method, *param;
} named_methods[] = {{"tools/call", "name"}, {"prompts/get", "name"}, {"resources/read", "uri"}};

/* An argument as a header has it: texts as they are, numbers and truth as JSON. */
static bool param_equals(struct request *r, const char *name, const struct json *value)
{
    char header[96];
    AUTO(buf) text = {0};

    snprintf(header, sizeof(header), "Mcp-Param-%s", name);
    if (json_kind(value) == JSON_ABSENT || json_kind(value) == JSON_NIL)
        return slice_is_none(request_header(r, header));
    if (json_kind(value) == JSON_STR)
        buf_put(&text, json_text(value));
    else
        json_write(&text, value);
    return header_equals(request_header(r, header), buf_slice(&text));
}

static const char *wrong_param(struct mcp_worker *w, struct request *r, const struct rpc_message *m)
{
    const struct mcp_param_header *p = w->mcp->offer->headers;
    struct slice tool = json_get_text(m->params, "name");
    const struct json *args = json_get(m->params, "arguments");

    if (!p || !slice_is(m->method, "tools/call")) return NULL;
    for (; p->tool; p++)
        if (slice_is(tool, p->tool) && !param_equals(r, p->header, json_get(args, p->argument)))
            return "Mcp-Param";
    return NULL;
}

/* The header that does not say what the body says, NULL when all agree. */
static const char *wrong_header(struct mcp_worker *w, struct request *r,
                                const struct rpc_message *m, struct slice version)
{
    if (!header_equals(request_header(r, MCP_VERSION_HEADER), version)) return MCP_VERSION_HEADER;
    if (!header_equals(request_header(r, "Mcp-Method"), m->method)) return "Mcp-Method";
    for (size_t i = 0; i < ARRAY_LEN(named_methods); i++) {
        struct slice name = json_get_text(m->params, named_methods[i].param);
        if (slice_is(m->method, named_methods[i].method) && !slice_is_none(name) &&
            !header_equals(request_header(r, "Mcp-Name"), name))
            return "Mcp-Name";
    }
    return wrong_param(w, r, m);
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
static bool check_envelope(struct mcp_worker *w, struct request *r, const struct rpc_message *m)
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
    wrong = wrong_header(w, r, m, version);
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

static const struct {
    enum mcp_list list;
    const char *filter;
} list_filters[] = {{MCP_LIST_TOOLS, "toolsListChanged"},
                    {MCP_LIST_PROMPTS, "promptsListChanged"},
                    {MCP_LIST_RESOURCES, "resourcesListChanged"}};

static unsigned honour_lists(struct mcp_worker *w, const struct json *wanted)
{
    unsigned lists = 0;
    bool is_wanted;

    for (size_t i = 0; i < ARRAY_LEN(list_filters); i++)
        if (json_bool(json_get(wanted, list_filters[i].filter), &is_wanted) && is_wanted)
            lists |= list_filters[i].list;
    return lists & w->mcp->offer->changing;
}

static void acknowledge(struct mcp_stream *s, const struct session_uri *uris, size_t n)
{
    AUTO(buf) params = {0}, note = {0}, frame = {0};
    struct pen p = pen_on(&params);

    pen_object(&p, NULL);
    pen_object(&p, "notifications");
    for (size_t i = 0; i < ARRAY_LEN(list_filters); i++)
        if (s->lists & list_filters[i].list) pen_bool(&p, list_filters[i].filter, true);
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
    s->lists = honour_lists(w, wanted);
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
    if (!check_envelope(w, r, m)) {
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
