/* The control API by the table routes.def, and what it says about the server itself. A handler
 * fills `a->out` or returns an error, which becomes a status by its class. */
#include "tools/sim/control.h"

#include <stdio.h>

#include "proto/base/text.h"
#include "tools/sim/faults.h"
#include "tools/sim/rules.h"

/* ---- the server ---- */

err_t sim_get_root_key(struct sim_answer *a)
{
    AUTO(buf) hex = {0};

    text_hex(SLICE_ARRAY(a->q->server->relay.keys.root.public.bytes), &hex);
    sim_json_set(a->out, "root_key", sim_json_slice(buf_slice(&hex)));
    return OK;
}

err_t sim_get_health(struct sim_answer *a)
{
    sim_json_set(a->out, "status", sim_json_text("ok"));
    sim_json_set(a->out, "connections",
                 json_integer((json_int_t)a->q->server->relay.conns_by_id.count));
    return OK;
}

err_t sim_get_clock(struct sim_answer *a)
{
    sim_json_set(a->out, "now_ms", json_integer(sim_server_now(a->q->server)));
    sim_json_time(a->out, "now", sim_server_now(a->q->server));
    return OK;
}

err_t sim_post_clock(struct sim_answer *a)
{
    struct sim_server *s = a->q->server;
    struct slice text = sim_text_member(a->q, "set");
    int64_t to = sim_int_member(a->q, "set", 0), by = sim_int_member(a->q, "advance_ms", 0);

    if (!slice_is_none(text)) TRY(text_parse_time(text, &to));
    if (to) by = to - sim_server_now(s);
    if (by < 0) return fail(BAD_ARGUMENT, "time does not go back");
    s->clock_ahead += by;
    return sim_get_clock(a);
}

err_t sim_post_settings(struct sim_answer *a)
{
    struct sim_options *o = &a->q->server->relay.options;
    const json_t *tokens = json_object_get(a->q->body, "require_tokens");
    const json_t *ping = json_object_get(a->q->body, "ping");

    if (tokens) o->require_tokens = json_is_true(tokens);
    o->offline_grace_ms = sim_int_member(a->q, "offline_grace_ms", o->offline_grace_ms);
    if (ping) o->ping = json_is_true(ping);
    sim_json_set(a->out, "require_tokens", json_boolean(o->require_tokens));
    sim_json_set(a->out, "offline_grace_ms", json_integer(o->offline_grace_ms));
    sim_json_set(a->out, "ping", json_boolean(o->ping));
    return OK;
}

err_t sim_get_rules(struct sim_answer *a)
{
    json_t *rules = json_array();

    for (size_t i = 0; i < SIM_RULES; i++)
        json_array_append_new(rules,
                              json_pack("{s:s,s:s,s:s,s:i}", "rule", sim_rule_name(i), "text",
                                        sim_rule_text(i), "source", sim_rule_source(i), "broken",
                                        a->q->server->relay.broken[i]));
    sim_json_set(a->out, "rules", rules);
    return OK;
}

/* ---- trace ---- */

/* A device by name, or all devices of a number. */
static bool is_line_of(const struct sim_traced *line, struct slice device)
{
    struct slice who = slice_text(line->who);

    return device.len == 0 || slice_eq(who, device) ||
           slice_eq(slice_sub(who, 0, slice_find(who, ':')), device);
}

static json_t *json_trace(const struct sim_traced *line)
{
    AUTO(buf) text = {0};

    sim_trace_text(line, &text);
    return sim_json_slice(buf_slice(&text));
}

err_t sim_get_trace(struct sim_answer *a)
{
    const struct sim_trace *t = &a->q->server->relay.trace;
    char buffer[64];
    struct slice device = sim_query_value(a->q, "device", buffer, sizeof buffer);
    uint64_t since = sim_query_int(a->q, "since", 0),
             limit = sim_query_int(a->q, "limit", SIM_TRACE_MAX);
    json_t *lines = json_array();

    LIST_EACH(l, (struct list *)&t->lines)
    {
        const struct sim_traced *line = LIST_ENTRY(l, struct sim_traced, link);
        json_t *o;

        if (line->seq <= since || !is_line_of(line, device)) continue;
        o = json_object();
        sim_json_set(o, "seq", json_integer((json_int_t)line->seq));
        sim_json_time(o, "at", line->at_ms);
        sim_json_set(o, "device", sim_json_text(line->who));
        sim_json_set(o, "direction",
                     sim_json_text(line->from_client ? "from_client" : "to_client"));
        sim_json_set(o, "stanza", json_trace(line));
        json_array_append_new(lines, o);
        if (json_array_size(lines) > limit) json_array_remove(lines, 0);
    }
    sim_json_set(a->out, "stanzas", lines);
    sim_json_set(a->out, "last_seq", json_integer((json_int_t)t->last_seq));
    return OK;
}

/* ---- faults ---- */

static void copy_member(const struct sim_request *q, const char *name, char *out, size_t size)
{
    snprintf(out, size, SLICE_FMT, SLICE_ARG(sim_text_member(q, name)));
}

err_t sim_post_faults(struct sim_answer *a)
{
    struct sim_fault f = {.count = 1};
    struct slice word;

    TRY(sim_need_text(a->q, "fault", &word));
    TRY(sim_fault_kind_of(word, &f.kind));
    copy_member(a->q, "device", f.device, sizeof f.device);
    copy_member(a->q, "tag", f.tag, sizeof f.tag);
    copy_member(a->q, "text", f.text, sizeof f.text);
    f.value = sim_int_member(a->q, "value", 0);
    f.count = sim_int_member(a->q, "count", 1);
    f.skip = sim_int_member(a->q, "skip", 0);
    a->q->server->relay.now_ms = sim_server_now(a->q->server);
    arena_reset(&a->q->server->relay.arena);
    return sim_fault_put(&a->q->server->relay, &f);
}

err_t sim_get_faults(struct sim_answer *a)
{
    json_t *armed = json_array(), *known = json_array();

    LIST_EACH(l, &a->q->server->relay.faults)
    {
        const struct sim_fault *f = LIST_ENTRY(l, struct sim_fault, link);

        json_array_append_new(armed, json_pack("{s:s,s:s,s:s,s:I,s:i,s:i}", "fault",
                                               sim_fault_name(f->kind), "device", f->device, "tag",
                                               f->tag, "value", (json_int_t)f->value, "count",
                                               f->count, "skip", f->skip));
    }
    for (size_t i = 0; i < SIM_FAULTS; i++)
        json_array_append_new(
            known, json_pack("{s:s,s:s}", "fault", sim_fault_name(i), "text", sim_fault_text(i)));
    sim_json_set(a->out, "armed", armed);
    sim_json_set(a->out, "known", known);
    return OK;
}

err_t sim_delete_faults(struct sim_answer *a)
{
    sim_faults_clear(&a->q->server->relay);
    return OK;
}

/* ---- the table ---- */

static const struct route {
    const char *method, *path;
    err_t (*run)(struct sim_answer *a);
} routes[] = {
#define ROUTE(method, path, handler, text) {method, path, handler},
#include "tools/sim/routes.def"
#undef ROUTE
};

static bool matches(const struct route *route, struct sim_request *q)
{
    struct slice pattern = slice_text(route->path), path = q->path, want, have;
    size_t n = 0;

    for (;;) {
        bool more = slice_split(&pattern, '/', &want);

        if (more != slice_split(&path, '/', &have)) return false;
        if (!more) return true;
        if (slice_is(want, "{}") && have.len > 0)
            q->segments[n++] = have;
        else if (!slice_eq(want, have))
            return false;
    }
}

static int status_of(err_t e)
{
    if (e == ERR_STORE_LOCKED) return 409;
    switch (err_class(e)) {
    case ERR_CLASS_CALLER:
    case ERR_CLASS_PEER: return 400;
    case ERR_CLASS_MISSING: return 404;
    case ERR_CLASS_LATER:
    case ERR_CLASS_STATE: return 409;
    default: return 500;
    }
}

int sim_control_answer(struct sim_request *q, struct slice method, json_t **out)
{
    struct sim_answer a = {.q = q, .out = json_object()};
    bool known = false;
    err_t e;

    *out = a.out;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!matches(&routes[i], q)) continue;
        known = true;
        if (!slice_is(method, routes[i].method)) continue;
        sim_server_settle(q->server);
        e = routes[i].run(&a);
        if (e == OK) sim_server_settle(q->server);
        if (e == OK) return 200;
        json_object_clear(a.out);
        sim_json_set(a.out, "error",
                     sim_json_text(e == ERR_STORE_LOCKED ? "CONFLICT" : err_name(e)));
        sim_json_set(a.out, "message", sim_json_text(err_words()));
        sim_server_settle(q->server);
        return status_of(e);
    }
    sim_json_set(a.out, "error", sim_json_text(known ? "METHOD" : "NOT_FOUND"));
    sim_json_set(a.out, "message",
                 sim_json_text(known ? "another method" : "no such path; README.md lists them"));
    return known ? 405 : 404;
}
