/* One handler per row of tools.def: arguments from path, query, body and the Idempotency-Key
 * header become one JSON object for the call; its reply becomes the body. */
#include "server/rest/rest.h"

#include <stdio.h>

#include "proto/base/text.h"
#include "server/api/args.h"
#include "server/api/call.h"
#include "server/api/edge.h"
#include "server/api/json.h"
#include "server/rest/feed.h"
#include "server/rest/keys.h"
#include "server/rest/openapi.h"
#include "server/tenant/auth.h"

/* ---- the reply ---- */

static void on_gone(struct request *r) { call_abandon(r->state); }

static void reply_problem_of(struct request *r, const struct call *c)
{
    const struct edge *edge = edge_of(c->error);

    if (edge->retry_after_s) {
        char seconds[16];
        snprintf(seconds, sizeof(seconds), "%d", edge->retry_after_s);
        reply_header(r, "Retry-After", slice_text(seconds));
    }
    reply_json(r, edge->status, c->problem);
}

static void on_done(struct call *c)
{
    struct request *r = c->owner;

    r->on_gone = NULL;
    if (c->error == OK)
        reply_json(r, 200, buf_slice(&c->result));
    else
        reply_problem_of(r, c);
}

/* ---- arguments ---- */

static const struct arg *find_arg(const struct tool *t, struct slice name)
{
    const struct arg *a;

    for (size_t i = 0; (a = tool_arg(t, i)); i++)
        if (slice_is(name, a->name)) return a;
    return NULL;
}

/* A text as the JSON its row wants; what does not fit stays text, so that the check words it. */
static void write_value(struct pen *p, const struct arg *a, struct slice text)
{
    struct slice item;
    int64_t n;

    if (a && a->type == ARG_INT && text_i64(text, &n) == OK) {
        pen_int(p, NULL, n);
    } else if (a && a->type == ARG_BOOL && (slice_is(text, "true") || slice_is(text, "false"))) {
        pen_bool(p, NULL, slice_is(text, "true"));
    } else if (a && (a->type == ARG_EVENTS || a->type == ARG_PHONES)) {
        pen_array(p, NULL);
        while (slice_split(&text, ',', &item))
            pen_text(p, NULL, item);
        pen_end(p);
    } else {
        pen_text(p, NULL, text);
    }
}

static bool is_path_param(const struct tool *t, struct slice name)
{
    struct slice left = slice_text(t->path), part;

    while (slice_split(&left, '/', &part))
        if (part.len > 2 && part.data[0] == '{' && slice_eq(slice_sub(part, 1, part.len - 1), name))
            return true;
    return false;
}

static void add_path(struct pen *p, const struct tool *t, const struct request *r)
{
    struct slice left = slice_text(t->path), part;
    size_t i = 0;

    while (slice_split(&left, '/', &part)) {
        if (part.len < 3 || part.data[0] != '{' || i == r->param_count) continue;
        pen_name(p, slice_sub(part, 1, part.len - 1));
        pen_text(p, NULL, r->params[i++]);
    }
}

static struct slice name_of(struct slice pair) { return slice_sub(pair, 0, slice_find(pair, '=')); }

/* The first of several with one name counts. */
static bool was_before(struct slice query, const uint8_t *here, struct slice name)
{
    struct slice left = query, pair;

    while (slice_split(&left, '&', &pair) && pair.data < here)
        if (slice_eq(name_of(pair), name)) return true;
    return false;
}

static void add_query(struct pen *p, const struct tool *t, struct request *r)
{
    struct slice left = r->query, pair;

    while (slice_split(&left, '&', &pair)) {
        struct slice name = name_of(pair);
        if (!name.len || was_before(r->query, pair.data, name) || is_path_param(t, name)) continue;
        pen_name(p, name);
        write_value(p, find_arg(t, name), request_query(r, arena_text(&r->arena, name)));
    }
}

static err_t add_body(struct pen *p, const struct tool *t, struct request *r, bool *has_key)
{
    struct json *body = NULL;
    const struct json *value;
    struct slice name;
    void *at = NULL;
    err_t e = OK;

    if (r->body.len == 0) return OK;
    TRY(json_parse(r->body, CALL_ARGS_MAX, &body));
    if (json_kind(body) != JSON_OBJ) e = fail(BAD_JSON, "the body must be a JSON object");
    while (e == OK && json_next(body, &at, &name, &value)) {
        if (is_path_param(t, name)) continue; /* the path says it already */
        if (slice_is(name, "idempotency_key")) *has_key = true;
        pen_name(p, name);
        pen_raw(p, NULL, SLICE(""));
        json_write(p->out, value);
    }
    json_free(body);
    return e;
}

static err_t write_args(const struct tool *t, struct request *r, struct buf *out)
{
    struct slice key = request_header(r, "idempotency-key");
    struct pen p = pen_on(out);
    bool has_key = false, has_body = !slice_is(r->method, "GET");

    pen_object(&p, NULL);
    add_path(&p, t, r);
    if (has_body) TRY(add_body(&p, t, r, &has_key));
    if (!has_body || r->body.len == 0) add_query(&p, t, r);
    if (!slice_is_none(key) && !has_key && (t->flags & TOOL_TAKES_KEY))
        pen_text(&p, "idempotency_key", key);
    pen_end(&p);
    return OK;
}

/* ---- the call ---- */

static void refuse(struct request *r, err_t e)
{
    AUTO(buf) problem = {0};

    edge_problem(&problem, e, edge_words(e), NULL, NULL);
    reply_json(r, edge_of(e)->status, buf_slice(&problem));
}

static void run_tool(struct request *r, const char *name)
{
    const struct tool *t = tool_find(slice_text(name));
    struct server *s = http_context(r);
    struct principal who;
    AUTO(buf) args = {0};
    struct call *c;
    err_t e = auth_request(s, r, &who);

    if (e != OK) {
        reply_refuse(r, e);
        return;
    }
    e = write_args(t, r, &args);
    if (e != OK) {
        refuse(r, e);
        return;
    }
    c = call_new(s, r->worker, &who, t);
    call_take_json(c, buf_slice(&args));
    r->state = c;
    r->on_gone = on_gone;
    call_start(c, on_done, r);
}

#define TOOL(name, category, flags, method, route, title, description, args, shape)                \
    static void rest_##name(struct request *r) { run_tool(r, #name); }
#include "server/api/tools.def"
#undef TOOL

const struct route rest_routes[] = {
    {"GET", "/openapi.json", openapi_get},
    {"GET", "/v1/events", feed_open},
    {"GET", "/v1/keys", keys_list},
    {"POST", "/v1/keys", keys_make},
    {"DELETE", "/v1/keys/{key_id}", keys_revoke},
#define TOOL(name, category, flags, method, route, title, description, args, shape)                \
    {method, route, rest_##name},
#include "server/api/tools.def"
#undef TOOL
    {NULL, NULL, NULL},
};
