/* The table of methods, and the life of an ask: begun, run by its row, answered once. Answers are
 * shaped for their era here, so that the methods need not care. */
#include "server/mcp/mcp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/crypto/crypto.h"
#include "server/api/call.h"
#include "server/api/edge.h"
#include "server/api/tools.h"
#include "server/log.h"
#include "server/mcp/inside.h"
#include "server/mcp/mcp_client.h"
#include "server/mcp/mcp_events.h"
#include "storage/view.h"

#define SERVER_INFO "{\"name\":\"parley\",\"title\":\"Parley\",\"version\":\"" PARLEY_VERSION "\"}"

/* ---- answering ---- */

static bool is_modern(const struct mcp_ask *a) { return a->era == MCP_MODERN; }

void mcp_begin_as(struct mcp_ask *a, const char *result_type)
{
    a->pen = pen_on(&a->result);
    pen_object(&a->pen, NULL);
    if (is_modern(a)) pen_word(&a->pen, "resultType", result_type);
}

void mcp_begin(struct mcp_ask *a)
{
    mcp_begin_as(a, "complete");
    if (!is_modern(a)) return;
    if (!a->method->is_cacheable) return;
    pen_int(&a->pen, "ttlMs", 0);
    pen_word(&a->pen, "cacheScope", "private");
}

/* The end of an ask: out of every table, answered, freed. */
static void end(struct mcp_ask *a, struct slice response, int status)
{
    struct mcp_worker *w = a->home;

    map_remove(&w->asks, mcp_key(&a->number));
    timer_disarm(w->worker, &a->progress);
    timer_disarm(w->worker, &a->later);
    if (*a->session.id) session_ask_ends(w, a->session.id, a->number);
    a->answer(a, a->cancelled ? SLICE_NONE : response, status);
    mcp_ask_free(a);
}

void mcp_done(struct mcp_ask *a)
{
    AUTO(buf) response = {0};

    if (is_modern(a)) {
        pen_object(&a->pen, "_meta");
        pen_raw(&a->pen, "io.modelcontextprotocol/serverInfo", SLICE(SERVER_INFO));
        pen_end(&a->pen);
    }
    pen_end(&a->pen);
    rpc_write_result(&response, a->message.id, buf_slice(&a->result));
    end(a, buf_slice(&response), 200);
}

void mcp_done_empty(struct mcp_ask *a)
{
    mcp_begin(a);
    mcp_done(a);
}

/* The older revisions say everything with 200; in the modern one a method that does not exist is
 * a 404, what is wrong with the request itself a 400, what a handler finds a 200. */
static int status_of(const struct mcp_ask *a, int code)
{
    if (!is_modern(a)) return 200;
    switch (code) {
    case RPC_NO_METHOD: return 404;
    case RPC_INVALID_REQUEST:
    case RPC_BAD_HEADER:
    case RPC_NO_CAPABILITY:
    case RPC_BAD_VERSION: return 400;
    default: return 200;
    }
}

static void refuse(struct mcp_ask *a, int code, struct slice data, const char *words)
{
    AUTO(buf) response = {0};

    rpc_write_error(&response, a->message.id, code, slice_text(words), data);
    end(a, buf_slice(&response), status_of(a, code));
}

void mcp_refuse_with(struct mcp_ask *a, int code, struct slice data, const char *format, ...)
{
    char words[ACCOUNT_WORDS_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    refuse(a, code, data, words);
}

void mcp_refuse(struct mcp_ask *a, int code, const char *format, ...)
{
    char words[ACCOUNT_WORDS_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    refuse(a, code, SLICE_NONE, words);
}

void mcp_refuse_error(struct mcp_ask *a, err_t e)
{
    AUTO(buf) problem = {0};
    char words[ACCOUNT_WORDS_MAX];

    snprintf(words, sizeof(words), "%s", edge_words(e));
    edge_problem(&problem, e, words, NULL, NULL);
    edge_log(e, NULL, "an MCP request failed", err_trail());
    refuse(a, edge_of(e)->rpc, buf_slice(&problem), words);
}

bool mcp_single_page(struct mcp_ask *a)
{
    if (!json_get(a->message.params, "cursor")) return true;
    mcp_refuse(a, RPC_BAD_PARAMS, "this cursor was not given out; the list has one page");
    return false;
}

/* ---- calls ---- */

static void on_call_done(struct call *c)
{
    struct mcp_ask *a = c->owner;

    a->call = NULL;
    if (a->cancelled) {
        end(a, SLICE_NONE, 200);
        return;
    }
    a->on_called(a, c);
}

bool mcp_call(struct mcp_ask *a, const char *name, struct slice args,
              void (*on_called)(struct mcp_ask *a, struct call *c))
{
    const struct tool *tool = tool_find(slice_text(name));

    if (!tool) return false;
    a->call = call_new(a->home->mcp->server, a->home->worker, &a->who, tool);
    a->on_called = on_called;
    call_take_json(a->call, args);
    call_start(a->call, on_call_done, a);
    return true;
}

/* ---- the beginning of a conversation ---- */

static void write_list_changed(struct pen *p, const struct mcp_ask *a, enum mcp_list which)
{
    bool changes = a->home->mcp->offer->changing & which;

    if (changes || !is_modern(a)) pen_bool(p, "listChanged", changes);
}

static void write_capabilities(struct mcp_ask *a)
{
    struct pen *p = &a->pen;

    pen_object(p, "capabilities");
    pen_object(p, "tools");
    write_list_changed(p, a, MCP_LIST_TOOLS);
    pen_end(p);
    pen_object(p, "resources");
    pen_bool(p, "subscribe", true);
    write_list_changed(p, a, MCP_LIST_RESOURCES);
    pen_end(p);
    pen_object(p, "prompts");
    write_list_changed(p, a, MCP_LIST_PROMPTS);
    pen_end(p);
    pen_object(p, "completions");
    pen_end(p);
    if (!is_modern(a)) {
        pen_object(p, "logging");
        pen_end(p);
    }
    pen_end(p);
}

static void answer_initialize(struct mcp_ask *a)
{
    mcp_begin(a);
    pen_word(&a->pen, "protocolVersion", mcp_revision_text(a->session.revision));
    write_capabilities(a);
    pen_raw(&a->pen, "serverInfo", SLICE(SERVER_INFO));
    pen_text(&a->pen, "instructions", a->home->mcp->offer->instructions());
    mcp_done(a);
}

static void on_session_made(struct mcp_worker *w, uint64_t number, err_t e, const char *session)
{
    struct mcp_ask *a = mcp_ask_find(w, number);

    if (!a) return;
    if (e != OK) {
        mcp_refuse_error(a, fail(STORE_FULL, "the session could not be stored; try again later"));
        return;
    }
    memcpy(a->new_session, session, sizeof(a->new_session));
    answer_initialize(a);
}

static bool declares_events(const struct json *capabilities)
{
    return json_get(json_get(capabilities, "extensions"), MCP_EVENTS_EXTENSION) ||
           json_get(json_get(capabilities, "experimental"), MCP_EVENTS_EXTENSION);
}

/* What the client says of itself, kept for the list of sessions; a novel is not. */
static struct slice short_json(struct mcp_ask *a, const char *member)
{
    enum { SHORT = 2048 };
    const struct json *value = json_get(a->message.params, member);
    AUTO(buf) text = {0};

    if (value) json_write(&text, value);
    return text.len && text.len <= SHORT ? arena_dup(&a->arena, buf_slice(&text)) : SLICE("{}");
}

static void initialize(struct mcp_ask *a)
{
    const struct json *params = a->message.params, *capabilities = json_get(params, "capabilities");
    struct slice wanted = json_get_text(params, "protocolVersion");
    enum mcp_revision revision = mcp_revision_find(wanted);
    struct session_new n = {.wants_vendor = declares_events(capabilities),
                            .abilities = mcp_abilities(capabilities)};
    err_t e;

    if (slice_is_none(wanted)) {
        mcp_refuse(a, RPC_BAD_PARAMS, "protocolVersion is missing");
        return;
    }
    a->session.revision = n.revision =
        revision <= MCP_LATEST_SESSION ? revision : MCP_LATEST_SESSION;
    if (a->is_volatile) {
        session_set_client(a->home, a->session.id, &n);
        answer_initialize(a);
        return;
    }
    n.capabilities = short_json(a, "capabilities");
    n.client = short_json(a, "clientInfo");
    e = session_create(a->home, &a->who, &n, (struct session_change){on_session_made, a->number});
    if (e != OK) mcp_refuse_error(a, e);
}

static void discover(struct mcp_ask *a)
{
    mcp_begin(a);
    pen_array(&a->pen, "supportedVersions");
    pen_word(&a->pen, NULL, mcp_revision_text(MCP_2026_07_28));
    pen_end(&a->pen);
    write_capabilities(a);
    pen_text(&a->pen, "instructions", a->home->mcp->offer->instructions());
    mcp_done(a);
}

static void on_level_set(struct mcp_worker *w, uint64_t number, err_t e, const char *session)
{
    struct mcp_ask *a = mcp_ask_find(w, number);

    if (!a) return;
    if (e == OK)
        mcp_done_empty(a);
    else
        mcp_refuse_error(a, fail(STORE_FULL, "the level could not be stored; try again later"));
}

static void set_level(struct mcp_ask *a)
{
    enum mcp_level level = mcp_level_find(json_get_text(a->message.params, "level"));
    err_t e;

    if (level == MCP_LEVELS) {
        mcp_refuse(a, RPC_BAD_PARAMS,
                   "level must be debug, info, notice, warning, error, "
                   "critical, alert or emergency");
        return;
    }
    e = session_set_level(a->home, a->session.id, level,
                          (struct session_change){on_level_set, a->number});
    if (e != OK) mcp_refuse_error(a, e);
}

/* ---- the table ---- */

enum { BOTH = MCP_SESSION | MCP_MODERN };

/* name, eras, needs a session, is cacheable, run. subscriptions/listen is a transport's own: its
 * answer is a stream (mcp_modern.c). */
static const struct mcp_method methods[] = {
    {"initialize", MCP_SESSION, false, false, initialize},
    {"server/discover", MCP_MODERN, false, true, discover},
    {"ping", MCP_SESSION, true, false, mcp_done_empty},
    {"logging/setLevel", MCP_SESSION, true, false, set_level},
    {0},
};

static const struct mcp_method offered[] = {
    {"tools/list", BOTH, true, true, mcp_tools_list},
    {"tools/call", BOTH, true, false, mcp_tools_call},
    {"resources/list", BOTH, true, true, mcp_resources_list},
    {"resources/templates/list", BOTH, true, true, mcp_templates_list},
    {"resources/read", BOTH, true, true, mcp_resources_read},
    {"resources/subscribe", MCP_SESSION, true, false, mcp_resources_subscribe},
    {"resources/unsubscribe", MCP_SESSION, true, false, mcp_resources_unsubscribe},
    {"prompts/list", BOTH, true, true, mcp_prompts_list},
    {"prompts/get", BOTH, true, false, mcp_prompts_get},
    {"completion/complete", BOTH, true, false, mcp_complete},
    {0},
};

const struct mcp_offer mcp_offer = {.methods = offered, .instructions = tools_instructions};

static const struct mcp_method *find_method(const struct mcp_method *rows, struct slice name)
{
    for (; rows->name; rows++)
        if (slice_is(name, rows->name)) return rows;
    return NULL;
}

/* ---- the life of an ask ---- */

static void on_later(struct timer *t, int64_t now)
{
    struct mcp_ask *a = CONTAINER_OF(t, struct mcp_ask, later);

    a->then(a);
}

void mcp_later(struct mcp_ask *a, int64_t ms, void (*then)(struct mcp_ask *a))
{
    a->later.fire = on_later;
    a->then = then;
    timer_arm(a->home->worker, &a->later, worker_now(a->home->worker) + ms);
}

struct mcp_ask *mcp_ask_new(struct mcp_worker *home)
{
    struct mcp_ask *a = xcalloc(sizeof(*a));

    a->home = home;
    a->number = mcp_number(home);
    map_put(&home->asks, mcp_key(&a->number), a);
    return a;
}

void mcp_ask_free(struct mcp_ask *a)
{
    timer_disarm(a->home->worker, &a->later);
    map_remove(&a->home->asks, mcp_key(&a->number));
    buf_done(&a->result);
    arena_done(&a->arena);
    free(a);
}

struct mcp_ask *mcp_ask_find(struct mcp_worker *home, uint64_t number)
{
    return map_find(&home->asks, mcp_key(&number));
}

static const struct mcp_method *method_of(const struct mcp_ask *a)
{
    const struct mcp_method *m = find_method(methods, a->message.method);

    if (!m) m = find_method(a->home->mcp->offer->methods, a->message.method);
    return m && (m->eras & a->era) ? m : NULL;
}

void mcp_ask_start(struct mcp_ask *a)
{
    a->method = method_of(a);
    a->started_at = worker_now(a->home->worker);
    if (!a->method) {
        mcp_refuse(a, RPC_NO_METHOD, "there is no method " SLICE_FMT, SLICE_ARG(a->message.method));
        return;
    }
    if (*a->session.id && !session_ask_begins(a->home, a->session.id, a->message.id, a->number)) {
        mcp_refuse(a, RPC_REFUSED, "more than %d requests of this session are under way",
                   SESSION_INFLIGHT_MAX);
        return;
    }
    mcp_progress_begin(a);
    a->method->run(a);
}

void mcp_ask_cancel(struct mcp_ask *a)
{
    /* initialize may not be cancelled; what is not a call ends by itself in a moment. */
    if (a->cancelled || (!a->call && !timer_is_armed(&a->later))) return;
    a->cancelled = true;
    if (a->call)
        call_cancel(a->call);
    else
        end(a, SLICE_NONE, 200);
}

void mcp_ask_abandon(struct mcp_ask *a)
{
    struct mcp_worker *w = a->home;

    timer_disarm(w->worker, &a->progress);
    timer_disarm(w->worker, &a->later);
    if (*a->session.id) session_ask_ends(w, a->session.id, a->number);
    if (a->call) call_abandon(a->call);
    mcp_ask_free(a);
}

/* ---- notifications ---- */

void mcp_notification(struct mcp_worker *w, const struct session_info *session,
                      const struct rpc_message *m)
{
    struct arena arena = {0};
    struct slice id;

    if (!*session->id) return;
    if (slice_is(m->method, "notifications/initialized")) {
        session_set_initialized(w, session->id);
    } else if (slice_is(m->method, "notifications/cancelled")) {
        id = rpc_token(&arena, json_get(m->params, "requestId"));
        if (!slice_is_none(id)) session_ask_cancel(w, session->id, id);
    }
    arena_done(&arena);
}

/* ---- the door ---- */

const struct route mcp_routes[] = {
    {"*", "/mcp", mcp_http_handle},
    {"GET", "/sse", mcp_sse_open},
    {"POST", "/messages", mcp_sse_message},
    {0},
};

struct mcp_worker *mcp_at(struct mcp *m, struct worker *w) { return &m->workers[worker_index(w)]; }

struct hub *mcp_hub(struct mcp_worker *w)
{
    return hub_at(w->mcp->server->hubs, worker_index(w->worker));
}

static void on_sweep(struct timer *t, int64_t now)
{
    struct mcp_worker *w = CONTAINER_OF(t, struct mcp_worker, sweep);

    mcp_sessions_sweep(w);
    timer_arm(w->worker, t, now + SESSION_SWEEP_MS);
}

static void on_start(struct post *p, struct worker *worker)
{
    struct mcp_worker *w = CONTAINER_OF(p, struct mcp_worker, start);

    w->sweep.fire = on_sweep;
    timer_arm(worker, &w->sweep, worker_now(worker) + SESSION_SWEEP_MS);
}

void mcp_start(struct mcp *m)
{
    m->workers[0].start.run = on_start;
    worker_post(m->workers[0].worker, &m->workers[0].start);
}

err_t mcp_open(struct server *s, const struct mcp_offer *offer, struct mcp **out)
{
    struct mcp *m = xcalloc(sizeof(*m));
    err_t e = OK;

    m->server = s;
    m->offer = offer;
    crypto_random(m->state_key, sizeof(m->state_key));
    m->worker_count = s->worker_count;
    m->workers = xcalloc(m->worker_count * sizeof(*m->workers));
    m->sessions = mcp_sessions_new(m);
    for (size_t i = 0; i < m->worker_count; i++) {
        struct mcp_worker *w = &m->workers[i];
        w->mcp = m;
        w->worker = s->workers[i];
        list_init(&w->exchanges);
        if (e == OK) e = view_new(s->store, &w->view);
    }
    if (e != OK) {
        mcp_close(m);
        return err_pass(e, __FILE__, __LINE__);
    }
    *out = m;
    return OK;
}

static void worker_done(struct mcp_worker *w)
{
    struct mcp_ask *a;
    size_t at = 0;

    while ((a = map_next(&w->asks, &at, NULL)))
        mcp_ask_free(a);
    mcp_exchanges_free(w);
    map_done(&w->asks);
    map_done(&w->streams);
    map_done(&w->tails);
    map_done(&w->speakers);
    view_free(w->view);
}

void mcp_close(struct mcp *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->worker_count; i++)
        worker_done(&m->workers[i]);
    mcp_sessions_free(m->sessions);
    free(m->workers);
    free(m);
}
